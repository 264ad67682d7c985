use super::{Body, Bucket, Condition, Etag, Put, S3Error, Written};

/// What a service does of what publishing relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// Conditions are heeded.
    Fit,
    /// It does not heed `If-None-Match`, or not `If-Match`: of two publishers both would win.
    Unfit(&'static str),
}

impl Bucket {
    /// Finds out by up to four writes to the object `name`, which is left behind, whether the service heeds
    /// conditions. Some accept the headers and ignore them.
    pub async fn probe(&self, name: &str) -> Result<Fitness, S3Error> {
        let put = |condition| Put {
            name: name.to_owned(),
            body: Body::Bytes(b"This object shows whether conditions are heeded here.\n".to_vec()),
            content_type: "text/plain",
            cache_control: Some("private, no-store"),
            condition,
        };
        // It may be there from an earlier time: that is as good.
        let first = self.put(put(Condition::Absent)).await?;
        if let Written::Done(_) = self.put(put(Condition::Absent)).await? {
            return Ok(Fitness::Unfit("it ignores If-None-Match"));
        }
        let foreign = Etag("\"00000000000000000000000000000000\"".to_owned());
        if let Written::Done(_) = self.put(put(Condition::Matches(foreign))).await? {
            return Ok(Fitness::Unfit("it ignores If-Match"));
        }
        let etag = match first {
            Written::Done(etag) => Some(etag),
            Written::Refused => self.head(name).await?.map(|(_, etag)| etag),
        };
        match etag {
            Some(etag) => match self.put(put(Condition::Matches(etag))).await? {
                Written::Done(_) => Ok(Fitness::Fit),
                Written::Refused => Ok(Fitness::Unfit("it refuses If-Match with the right tag")),
            },
            None => Ok(Fitness::Unfit("it refuses to create what is not there")),
        }
    }
}

use futures_util::future::{try_join, try_join3};

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
    /// Finds out by four writes to the object `name`, which is left behind, whether the service heeds conditions. Some
    /// accept the headers and ignore them.
    pub async fn probe(&self, name: &str) -> Result<Fitness, S3Error> {
        let put = |condition| {
            self.put(Put {
                name: name.to_owned(),
                body: Body::Bytes(b"This object shows whether conditions are heeded here.\n".to_vec()),
                content_type: "text/plain",
                cache_control: Some("private, no-store"),
                condition,
            })
        };
        // Whatever is written has the same bytes, so these do not stand in each other's way.
        let foreign = Etag("\"00000000000000000000000000000000\"".to_owned());
        let (created, replaced, found) =
            try_join3(put(Condition::Absent), put(Condition::Matches(foreign)), self.head(name)).await?;
        if let Written::Done(_) = replaced {
            return Ok(Fitness::Unfit("it ignores If-Match"));
        }
        let etag = match (created, found) {
            (Written::Done(etag), _) => Some(etag),
            // It is there from an earlier time: that is as good.
            (Written::Refused, Some((_, etag))) => Some(etag),
            // Somebody else has just begun here.
            (Written::Refused, None) => self.head(name).await?.map(|(_, etag)| etag),
        };
        let Some(etag) = etag else { return Ok(Fitness::Unfit("it refuses to create what is not there")) };
        Ok(match try_join(put(Condition::Absent), put(Condition::Matches(etag))).await? {
            (Written::Done(_), _) => Fitness::Unfit("it ignores If-None-Match"),
            (_, Written::Refused) => Fitness::Unfit("it refuses If-Match with the right tag"),
            (Written::Refused, Written::Done(_)) => Fitness::Fit,
        })
    }
}

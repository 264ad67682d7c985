use futures_util::future::try_join3;

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
        let etag = match first {
            Written::Done(etag) => Some(etag),
            Written::Refused => self.head(name).await?.map(|(_, etag)| etag),
        };
        let Some(etag) = etag else { return Ok(Fitness::Unfit("it refuses to create what is not there")) };
        let foreign = Etag("\"00000000000000000000000000000000\"".to_owned());
        // Whatever is written has the same bytes, so these three do not stand in each other's way.
        let again = self.put(put(Condition::Absent));
        let with_foreign = self.put(put(Condition::Matches(foreign)));
        let with_own = self.put(put(Condition::Matches(etag)));
        Ok(match try_join3(again, with_foreign, with_own).await? {
            (Written::Done(_), ..) => Fitness::Unfit("it ignores If-None-Match"),
            (_, Written::Done(_), _) => Fitness::Unfit("it ignores If-Match"),
            (.., Written::Refused) => Fitness::Unfit("it refuses If-Match with the right tag"),
            (Written::Refused, Written::Refused, Written::Done(_)) => Fitness::Fit,
        })
    }
}

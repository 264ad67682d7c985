use futures_util::future::{try_join, try_join3};

use super::{Body, Bucket, Condition, Etag, Put, S3Error, Written};

/// What a service does of what publishing relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// Conditions are heeded. The object by which that showed has this tag.
    Fit(Etag),
    /// It does not heed `If-None-Match`, or not `If-Match`: of two publishers both would win.
    Unfit(&'static str),
}

impl Bucket {
    /// Finds out by a few writes to the object `name`, which is left behind, whether the service heeds conditions. Some
    /// accept the headers and ignore them. They are all made at once where it still has the tag that is `known`.
    pub async fn probe(&self, name: &str, known: Option<Etag>) -> Result<Fitness, S3Error> {
        // Whatever is written has the same bytes, so these do not stand in each other's way.
        if let Some(etag) = known {
            let (absent, foreign, own) = (Condition::Absent, foreign(), Condition::Matches(etag.clone()));
            let answers = try_join3(
                self.put_probe(name, absent),
                self.put_probe(name, foreign),
                self.put_probe(name, own),
            );
            if let (Written::Refused, Written::Refused, Written::Done(_)) = answers.await? {
                return Ok(Fitness::Fit(etag));
            }
        }
        let created = self.put_probe(name, Condition::Absent);
        let (created, replaced, found) =
            try_join3(created, self.put_probe(name, foreign()), self.head(name)).await?;
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
        let own = self.put_probe(name, Condition::Matches(etag.clone()));
        Ok(match try_join(self.put_probe(name, Condition::Absent), own).await? {
            (Written::Done(_), _) => Fitness::Unfit("it ignores If-None-Match"),
            (_, Written::Refused) => Fitness::Unfit("it refuses If-Match with the right tag"),
            (Written::Refused, Written::Done(_)) => Fitness::Fit(etag),
        })
    }

    async fn put_probe(&self, name: &str, condition: Condition) -> Result<Written, S3Error> {
        let body = Body::Bytes(b"This object shows whether conditions are heeded here.\n".to_vec());
        let cache_control = Some("private, no-store");
        self.put(Put { name: name.to_owned(), body, content_type: "text/plain", cache_control, condition })
            .await
    }
}

/// By a tag that nothing has.
fn foreign() -> Condition {
    Condition::Matches(Etag("\"00000000000000000000000000000000\"".to_owned()))
}

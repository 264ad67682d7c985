//! Large objects, in parts that are sent beside each other.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Bucket, Etag, Put, S3Error, Written};

/// How large a part is: 10,000 of them, which is S3's limit, make 156 GiB.
const PART: u64 = 16 << 20;
/// How many parts are on their way at a time: this times [`PART`] is the memory it takes.
const BESIDE: usize = 4;

/// Writes `put`, whose body has `length` bytes. What was begun and cannot be completed is aborted.
pub(super) async fn put(bucket: &Bucket, put: &Put, length: u64) -> Result<Written, S3Error> {
    let url = || bucket.url(&put.name);
    let location = bucket.location();
    bucket.count();
    let begun = bucket
        .client
        .create_multipart_upload()
        .bucket(&location.bucket)
        .key(location.key(&put.name))
        .content_type(put.content_type)
        .set_cache_control(put.cache_control.map(str::to_owned))
        .send()
        .await
        .map_err(|error| S3Error::new("begin to write", url(), &error))?;
    let upload = begun.upload_id.unwrap_or_default();
    let written = match send_parts(bucket, put, length, &upload).await {
        Ok(parts) => complete(bucket, put, &upload, parts).await,
        Err(error) => Err(error),
    };
    if !matches!(written, Ok(Written::Done(_))) {
        bucket.count();
        let abort = bucket.client.abort_multipart_upload();
        let abort = abort.bucket(&location.bucket).key(location.key(&put.name)).upload_id(&upload);
        // What stays is for the bucket's lifecycle; the error that led here tells more.
        let _ = abort.send().await;
    }
    written
}

async fn send_parts(
    bucket: &Bucket,
    put: &Put,
    length: u64,
    upload: &str,
) -> Result<Vec<CompletedPart>, S3Error> {
    let parts = (0..length.div_ceil(PART)).map(|at| async move {
        let (offset, number) = (at * PART, at as i32 + 1);
        let url = bucket.url(&put.name);
        let location = bucket.location();
        bucket.count();
        let request = bucket
            .client
            .upload_part()
            .bucket(&location.bucket)
            .key(location.key(&put.name))
            .upload_id(upload)
            .part_number(number)
            .body(put.body.part(offset, PART.min(length - offset), &url).await?);
        let sent = request.send().await.map_err(|error| S3Error::new("write a part of", url, &error))?;
        bucket.count_sent(PART.min(length - offset));
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32)
            .build())
    });
    stream::iter(parts).buffered(BESIDE).try_collect().await
}

async fn complete(
    bucket: &Bucket,
    put: &Put,
    upload: &str,
    parts: Vec<CompletedPart>,
) -> Result<Written, S3Error> {
    let location = bucket.location();
    bucket.count();
    let (absent, matches) = put.condition.headers();
    let request = bucket
        .client
        .complete_multipart_upload()
        .bucket(&location.bucket)
        .key(location.key(&put.name))
        .upload_id(upload)
        .set_if_none_match(absent)
        .set_if_match(matches)
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build());
    match request.send().await {
        Ok(answer) => Ok(Written::Done(Etag(answer.e_tag.unwrap_or_default()))),
        Err(error) if put.condition.is_refused_by(&error) => Ok(Written::Refused),
        Err(error) => Err(S3Error::new("complete", bucket.url(&put.name), &error)),
    }
}

//! The publish room against real clients: apt, dnf, gpgv; a real S3 server; and against kill -9 and full disks.

mod clients;
mod faults;
mod retention;
mod rpm;
mod s3;
mod support;

//! The publish room against real clients: apt, gpgv, gpg; and against kill -9 and full disks.

mod clients;
mod faults;
mod keys;
mod retention;
mod support;

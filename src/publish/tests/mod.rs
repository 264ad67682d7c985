//! The publish room against real clients: apt, gpgv; and against kill -9 and full disks.

mod clients;
mod faults;
mod support;

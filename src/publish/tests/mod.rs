//! The publish room against real clients: apt, dnf, gpgv; and against kill -9 and full disks.

mod clients;
mod faults;
mod retention;
mod rpm;
mod support;

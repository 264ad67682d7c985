mod faults;
mod keeping;
mod sharing;
mod support;
mod trust;

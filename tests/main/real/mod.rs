//! Real input: this repository's own matrix, and images of a Debian archive. A test may take a quarter of an hour
//! on two cores and takes all of them, so they run one after the other and beside nothing else.

mod arm64_light;
mod first_light;
mod formats;
mod new_tag;
mod project;
mod tour;

//! Quantities as people write them: durations, sizes, shares of a processor, resources of other kinds, and lists in one argument.

mod csv;
mod duration;
mod generic;
mod memory;
mod processors;

pub use csv::split_csv;
pub use duration::{format_duration, parse_duration, to_wire_duration};
pub use generic::{GenericError, GenericResources};
pub use memory::{format_memory, parse_memory};
pub use processors::{format_processors, parse_processors};

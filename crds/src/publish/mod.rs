//! What is made from the types and kept in the repository: definitions, the editors' schema, the reference.

pub mod crd;
pub mod generated;
pub mod reference;

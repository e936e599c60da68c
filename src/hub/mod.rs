//! Turns a name such as `vgg16` into a checked file of weights, and a folder of models into a list.
//!
//! `REGISTRY` -> `Request` -> `Downloader::fetch` -> `Fetched`, kept in a `Store`.
//!
//! It stands apart because it alone speaks to the network, and only when a command's name says so. A
//! file of weights is bytes to it: they are counted and hashed, never run.

mod digest;
mod download;
mod error;
mod models;
mod partial;
mod registry;
mod store;
mod transport;

pub use digest::{Digest, Sha256Sum, digest_of};
pub use download::{Downloader, Fetched, Note, Origin, Progress, Request, Retry, TOLERANCE};
pub use error::HubError;
pub use models::{Description, FoundModel, find_models};
pub use registry::{Entry, Preprocessing, REGISTRY, find};
pub use store::{State, Store, free_space};
pub use transport::{Network, ProxyChoice, Roots, Timeouts};

//! STUB
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("a")]
    Held(String),
    #[error("b")]
    Walk(String),
    #[error("c")]
    Usage(String),
}

use crate::Store;
use std::future::Future;
use std::sync::Arc;

pub(super) async fn run<F, Fut>(_open: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
}

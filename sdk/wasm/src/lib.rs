//! All that a worker in Rust may see when it is a WASM component: its task, its target, and the way back.
//!
//! This crate exists so that a component is written as a process worker is: one function from a task to an outcome. It
//! must never need more of the host than `execution/runtimes/wasm/wit/worker.wit` says.
//!
//! ```ignore
//! use sengu_sdk_wasm::{Outcome, Task, Worker, worker};
//!
//! struct Lamp;
//! impl Worker for Lamp {
//!     fn run(task: &Task) -> Outcome {
//!         task.reading("lamp_on", 1.0, "1");
//!         Outcome::Done(Default::default())
//!     }
//! }
//! worker!(Lamp);
//! ```
//!
//! Build it with `cargo build --release --target wasm32-unknown-unknown` as a `cdylib`, then make the module a component
//! with the program in `wrap/`. `cargo xtask stage` does both for every `workers/<kind>/component/`.

#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        world: "worker",
        path: "../../execution/runtimes/wasm/wit",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "sengu_sdk_wasm::bindings",
    });
}

mod task;

pub use bindings::sengu::worker::http::{
    Code as HttpCode, Failure as HttpFailure, Request, Response, Trouble,
};
pub use bindings::sengu::worker::tcp::{Connection, Failure as TcpFailure};
pub use sengu_model::wire::worker::{Level, ProbeFrame, Reading};
pub use sengu_model::{Done, Failure, FailureCode, Outcome, limits};
pub use task::Task;

/// One worker kind. Each task has a fresh instance: nothing static outlives it; see [`Task::remember`].
pub trait Worker {
    /// Does one task. Return what is known: `Unknown` when the effect may have begun and no answer came.
    fn run(task: &Task) -> Outcome;
}

/// What `worker!` calls.
#[doc(hidden)]
pub fn serve<W: Worker>(task: bindings::Task) -> String {
    std::panic::set_hook(Box::new(|panic| {
        bindings::sengu::worker::report::last_words(&panic.to_string().replace('\n', " "));
    }));
    let outcome = match Task::new(task) {
        Ok(task) => W::run(&task),
        Err(e) => Outcome::failed(FailureCode::BadReply, format!("the host's task: {e}")),
    };
    // An outcome has no map with keys that are not text.
    serde_json::to_string(&outcome).unwrap_or_default()
}

/// Makes a component of a [`Worker`].
#[macro_export]
macro_rules! worker {
    ($worker:ty) => {
        struct Exported;

        impl $crate::bindings::Guest for Exported {
            fn run(task: $crate::bindings::Task) -> String {
                $crate::serve::<$worker>(task)
            }
        }

        $crate::bindings::export_component!(Exported with_types_in $crate::bindings);
    };
}

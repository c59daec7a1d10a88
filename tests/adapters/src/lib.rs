//! One suite for all adapters: cases that are written once, over any [`Host`], and run on each.
//!
//! A case is a generic function in `tests/suite`: `async fn m1_…<H: Host>()`. It makes nodes and links of
//! [`handclasp::runtime`] with `H` filled in, and waits with what is here, which knows no runtime. To add one,
//! write it and name it in its module's [`on_every_host!`]; a case that is not named does not compile without a
//! warning. What holds between two runtimes in one process takes two hosts, and is named in [`crosswise!`].
//!
//! - [`run`] runs a case to its end, or fails it when its time is over.
//! - [`spawn`], [`Task`], [`TaskSet`] are tasks with results; [`soon`], [`until`], [`sleep`], [`timeout`] wait.
//! - [`links`] and [`nodes`] have the nodes that the cases are about, [`pipe()`] the streams between them,
//!   [`streams`] what is said over the byte streams of a link.
//! - [`Cuts`] drops a future at each of its await points; [`Scoped`] counts the tasks that are left then.
//! - [`Flawed`] has listeners that fail now and then, and [`FlawedStream`] goes wrong when a [`Switch`] says
//!   so. Both are runtimes around another one, by [`forward!`].
#![forbid(unsafe_code)]
// What is not as a test needs it fails the test.
#![allow(clippy::missing_panics_doc)]

mod cut;
mod flawed;
mod forward;
mod host;
pub mod links;
pub mod nodes;
mod pipe;
pub mod run;
mod scoped;
pub mod streams;
mod task;
mod wait;

pub use cut::Cuts;
pub use flawed::{Flaw, Flawed, FlawedListener, FlawedStream, Switch};
pub use host::Host;
pub use pipe::{Pipe, Tap, pipe};
pub use scoped::{Scope, Scoped};
pub use task::{Lost, Task, TaskSet, spawn, unblock};
pub use wait::{sleep, soon, timeout, until};

/// Makes a test of each case for each host.
///
/// ```ignore
/// async fn m1_an_answer_comes<H: Host>() {}
///
/// handclasp_adapters::on_every_host!(m1_an_answer_comes);
/// ```
#[macro_export]
macro_rules! on_every_host {
    ($($case:ident),* $(,)?) => {
        $crate::on_hosts! {
            tokio_one_thread, run::tokio_one_thread, [handclasp_tokio::Tokio], [$($case)*];
            tokio, run::tokio, [handclasp_tokio::Tokio], [$($case)*];
            async_std, run::async_std, [handclasp_async_std::AsyncStd], [$($case)*];
            smol, run::smol, [handclasp_async_std::smol::Smol], [$($case)*];
        }
    };
}

/// Makes a test of each case for each two runtimes in one process. What runs the test itself is tokio, which
/// alone has tasks that run nowhere else.
#[macro_export]
macro_rules! crosswise {
    ($($case:ident),* $(,)?) => {
        $crate::on_hosts! {
            tokio_and_async_std, run::tokio,
                [handclasp_tokio::Tokio, handclasp_async_std::AsyncStd], [$($case)*];
            async_std_and_tokio, run::tokio,
                [handclasp_async_std::AsyncStd, handclasp_tokio::Tokio], [$($case)*];
            tokio_and_smol, run::tokio,
                [handclasp_tokio::Tokio, handclasp_async_std::smol::Smol], [$($case)*];
            smol_and_tokio, run::tokio,
                [handclasp_async_std::smol::Smol, handclasp_tokio::Tokio], [$($case)*];
            async_std_and_smol, run::async_std,
                [handclasp_async_std::AsyncStd, handclasp_async_std::smol::Smol], [$($case)*];
        }
    };
}

/// Makes a module of tests for each line: its name, what runs it, the types of its cases, the cases.
#[doc(hidden)]
#[macro_export]
macro_rules! on_hosts {
    ($($name:ident, run::$run:ident, [$($host:ty),*], [$($case:ident)*];)*) => {
        $($crate::on_hosts!(@module $name, $run, [$($host),*], $($case)*);)*
    };
    (@module $name:ident, $run:ident, $hosts:tt, $($case:ident)*) => {
        mod $name {
            $($crate::on_hosts!(@test $run, $hosts, $case);)*
        }
    };
    (@test $run:ident, [$($host:ty),*], $case:ident) => {
        #[test]
        fn $case() {
            $crate::run::$run(super::$case::<$($host),*>);
        }
    };
}

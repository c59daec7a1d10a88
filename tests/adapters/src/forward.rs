//! Runtimes that are another one but for what a test is about.

/// Inside an `impl Runtime`: the named items are those of the runtime in front.
///
/// ```ignore
/// impl<R: Runtime> Runtime for Watched<R> {
///     handclasp_adapters::forward!(R: Tcp TcpListener Stream Sleep now today sleep_until unblock
///         random resolve connect bind accept peer_addr local_addr);
///
///     fn spawn(task: impl Future<Output = ()> + Send + 'static) {
///         println!("a task");
///         R::spawn(task);
///     }
/// }
/// ```
#[macro_export]
macro_rules! forward {
    ($runtime:ident: $($item:ident)*) => { $($crate::forward!(@$item $runtime);)* };
    (@Tcp $runtime:ident) => { type Tcp = $runtime::Tcp; };
    (@TcpListener $runtime:ident) => { type TcpListener = $runtime::TcpListener; };
    (@Stream $runtime:ident) => { type Stream = $runtime::Stream; };
    (@Sleep $runtime:ident) => { type Sleep = $runtime::Sleep; };
    (@now $runtime:ident) => {
        fn now() -> std::time::Instant {
            $runtime::now()
        }
    };
    (@today $runtime:ident) => {
        fn today() -> std::time::SystemTime {
            $runtime::today()
        }
    };
    (@sleep_until $runtime:ident) => {
        fn sleep_until(at: std::time::Instant) -> Self::Sleep {
            $runtime::sleep_until(at)
        }
    };
    (@spawn $runtime:ident) => {
        fn spawn(task: impl Future<Output = ()> + Send + 'static) {
            $runtime::spawn(task);
        }
    };
    (@unblock $runtime:ident) => {
        fn unblock(work: impl FnOnce() + Send + 'static) {
            $runtime::unblock(work);
        }
    };
    (@random $runtime:ident) => {
        fn random(bytes: &mut [u8]) {
            $runtime::random(bytes);
        }
    };
    (@resolve $runtime:ident) => {
        async fn resolve(address: &str) -> std::io::Result<Vec<std::net::SocketAddr>> {
            $runtime::resolve(address).await
        }
    };
    (@connect $runtime:ident) => {
        async fn connect(address: std::net::SocketAddr) -> std::io::Result<Self::Tcp> {
            $runtime::connect(address).await
        }
    };
    (@bind $runtime:ident) => {
        async fn bind(address: std::net::SocketAddr) -> std::io::Result<Self::TcpListener> {
            $runtime::bind(address).await
        }
    };
    (@accept $runtime:ident) => {
        async fn accept(
            listener: &Self::TcpListener,
        ) -> std::io::Result<(Self::Tcp, std::net::SocketAddr)> {
            $runtime::accept(listener).await
        }
    };
    (@peer_addr $runtime:ident) => {
        fn peer_addr(stream: &Self::Tcp) -> Option<std::net::SocketAddr> {
            $runtime::peer_addr(stream)
        }
    };
    (@local_addr $runtime:ident) => {
        fn local_addr(listener: &Self::TcpListener) -> std::io::Result<std::net::SocketAddr> {
            $runtime::local_addr(listener)
        }
    };
}

//! `rustls`: TLS 1.3 with raw Ed25519 public keys (RFC 7250) on both sides, so that no certificate is parsed or sent;
//! X25519 for the key exchange, no resumption, no tickets.

use crate::contest::{Handshake, Pair, Sink};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{self, CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error,
    ServerConfig, ServerConnection, SignatureScheme,
};
use std::io::{Read, Write};
use std::sync::Arc;

/// Where the cryptography comes from.
#[derive(Clone, Copy, Debug)]
pub enum Provider {
    /// aws-lc-rs, the default of rustls.
    AwsLc,
    /// ring.
    Ring,
}

/// The cipher suite, the only one offered.
#[derive(Clone, Copy, Debug)]
pub enum Cipher {
    /// `TLS13_CHACHA20_POLY1305_SHA256`.
    ChaCha,
    /// `TLS13_AES_256_GCM_SHA384`.
    Aes256,
}

fn label(provider: Provider, cipher: Cipher) -> String {
    let provider = match provider {
        Provider::AwsLc => "aws-lc-rs",
        Provider::Ring => "ring",
    };
    let cipher = match cipher {
        Cipher::ChaCha => "ChaCha20-Poly1305",
        Cipher::Aes256 => "AES-256-GCM",
    };
    format!("rustls, {provider}, {cipher}")
}

fn crypto_provider(provider: Provider, cipher: Cipher) -> Arc<CryptoProvider> {
    let (mut chosen, x25519) = match provider {
        Provider::AwsLc => (crypto::aws_lc_rs::default_provider(), crypto::aws_lc_rs::kx_group::X25519),
        Provider::Ring => (crypto::ring::default_provider(), crypto::ring::kx_group::X25519),
    };
    let suite = match cipher {
        Cipher::ChaCha => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        Cipher::Aes256 => CipherSuite::TLS13_AES_256_GCM_SHA384,
    };
    chosen.cipher_suites.retain(|candidate| candidate.suite() == suite);
    chosen.kx_groups = vec![x25519];
    Arc::new(chosen)
}

/// A raw key pair from `seed`: the public key's DER in the place of a certificate.
fn key(provider: &CryptoProvider, seed: u8) -> Arc<CertifiedKey> {
    // PKCS #8 of an Ed25519 seed (RFC 8410 §7).
    let mut pkcs8 = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    pkcs8.extend_from_slice(&[seed; 32]);
    let private = PrivateKeyDer::Pkcs8(pkcs8.into());
    let signer = provider.key_provider.load_private_key(private).expect("an Ed25519 key");
    let public = signer.public_key().expect("the public half").into_owned();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(public.to_vec())], signer))
}

/// Accepts one raw public key and no other.
#[derive(Debug)]
struct Pinned {
    expected: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn check(&self, presented: &CertificateDer<'_>) -> Result<(), Error> {
        if *presented == self.expected { Ok(()) } else { Err(Error::General("another key".into())) }
    }

    fn check_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(
            message,
            &key,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }
}

/// The three methods that the two verifier traits share word for word.
macro_rules! tls13_raw_keys_only {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.3 only".into()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            key: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.check_signature(message, key, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    tls13_raw_keys_only!();
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    tls13_raw_keys_only!();
}

/// Handshakes between two nodes that pin each other's key.
pub struct Tls {
    label: String,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: ServerName<'static>,
    wire: Vec<u8>,
}

impl Tls {
    /// Two nodes with keys of their own.
    pub fn new(provider: Provider, cipher: Cipher) -> Self {
        let label = label(provider, cipher);
        let provider = crypto_provider(provider, cipher);
        let (client_key, server_key) = (key(&provider, 1), key(&provider, 2));
        let pinned =
            |key: &CertifiedKey| Pinned { expected: key.cert[0].clone(), provider: provider.clone() };
        let tls13 = &[&rustls::version::TLS13];

        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(tls13)
            .expect("a TLS 1.3 suite")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pinned(&server_key)))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(client_key.clone())));
        client.resumption = Resumption::disabled();

        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(tls13)
            .expect("a TLS 1.3 suite")
            .with_client_cert_verifier(Arc::new(pinned(&client_key)))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(server_key)));
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let name = ServerName::try_from("node").expect("a name");
        Self {
            label,
            client: Arc::new(client),
            server: Arc::new(server),
            name,
            wire: Vec::with_capacity(8192),
        }
    }

    fn connect(&mut self) -> (ClientConnection, ServerConnection) {
        let mut client = ClientConnection::new(self.client.clone(), self.name.clone()).expect("a client");
        let mut server = ServerConnection::new(self.server.clone()).expect("a server");
        while client.is_handshaking() || server.is_handshaking() {
            while client.wants_write() {
                client.write_tls(&mut self.wire).expect("memory to write to");
            }
            feed(&mut server, &mut self.wire);
            while server.wants_write() {
                server.write_tls(&mut self.wire).expect("memory to write to");
            }
            feed(&mut client, &mut self.wire);
        }
        (client, server)
    }
}

/// Gives all of `wire` to an end that is still in its handshake.
fn feed<Data>(end: &mut rustls::ConnectionCommon<Data>, wire: &mut Vec<u8>) {
    let mut rest = &wire[..];
    while !rest.is_empty() {
        end.read_tls(&mut rest).expect("memory to read from");
        end.process_new_packets().expect("an honest handshake");
    }
    wire.clear();
}

impl Handshake for Tls {
    fn name(&self) -> String {
        self.label.clone()
    }

    fn run(&mut self) {
        let (client, server) = std::hint::black_box(self.connect());
        assert!(client.peer_certificates().is_some() && server.peer_certificates().is_some());
    }
}

/// How messages become a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not at all: a bulk transfer, whose pieces have no meaning of their own.
    Stream,
    /// A u32 length before each message; every message is written to the connection on its own.
    Messages,
    /// A u32 length before each message; the application packs what is queued and writes it at once.
    Packed,
}

/// An established pair.
pub struct TlsPair {
    label: String,
    framing: Framing,
    client: ClientConnection,
    server: ServerConnection,
    packed: Vec<u8>,
    wire: Vec<u8>,
    /// Plaintext that the receiver has read; the first `filled` bytes are not handed on yet.
    opened: Vec<u8>,
    filled: usize,
}

impl TlsPair {
    /// A pair that has finished its handshake.
    pub fn new(provider: Provider, cipher: Cipher, framing: Framing) -> Self {
        let mut tls = Tls::new(provider, cipher);
        let (client, server) = tls.connect();
        let wire = Vec::with_capacity(128 * 1024);
        let opened = vec![0; 128 * 1024];
        Self { label: tls.label, framing, client, server, packed: Vec::new(), wire, opened, filled: 0 }
    }

    fn write(&mut self) {
        self.client.writer().write_all(&self.packed).expect("room for a batch");
        self.packed.clear();
    }

    /// Hands every whole message in `opened` to `sink`.
    fn deliver(&mut self, sink: &mut Sink) {
        if self.framing == Framing::Stream {
            sink.take(&self.opened[..self.filled]);
            self.filled = 0;
            return;
        }
        let mut start = 0;
        while let Some((len, rest)) = self.opened[start..self.filled].split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*len) as usize;
            let Some(body) = rest.get(..len) else { break };
            sink.take(body);
            start += 4 + len;
        }
        self.opened.copy_within(start..self.filled, 0);
        self.filled -= start;
    }
}

impl Pair for TlsPair {
    fn name(&self) -> String {
        match self.framing {
            Framing::Stream | Framing::Messages => self.label.clone(),
            Framing::Packed => format!("{}, packed by the application", self.label),
        }
    }

    fn send(&mut self, body: &[u8]) {
        if self.framing == Framing::Stream {
            self.client.writer().write_all(body).expect("room for a message");
            return;
        }
        let len = u32::try_from(body.len()).expect("a short message");
        self.packed.extend_from_slice(&len.to_be_bytes());
        self.packed.extend_from_slice(body);
        if self.framing == Framing::Messages {
            self.write();
        }
    }

    fn flush(&mut self, sink: &mut Sink) {
        if self.framing == Framing::Packed {
            self.write();
        }
        while self.client.wants_write() {
            self.client.write_tls(&mut self.wire).expect("memory to write to");
        }
        let wire = std::mem::take(&mut self.wire);
        let mut rest = &wire[..];
        while !rest.is_empty() {
            self.server.read_tls(&mut rest).expect("memory to read from");
            let state = self.server.process_new_packets().expect("what was sealed opens");
            let end = self.filled + state.plaintext_bytes_to_read();
            self.server
                .reader()
                .read_exact(&mut self.opened[self.filled..end])
                .expect("the plaintext announced");
            self.filled = end;
            if end > 0 {
                self.deliver(sink);
            }
        }
        self.wire = wire;
        self.wire.clear();
    }
}

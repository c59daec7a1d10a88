//! The other side of a link with [transparent](crate::transparent) cryptography: what it says, in bytes.

use std::sync::Arc;
use std::time::Duration;

use handclasp::crypto::{Suite, SuiteSet};
use handclasp::hello::Hello;
use handclasp::wire::hello::emit;
use handclasp::{
    ClusterSecret, Config, Dial, Limits, Link, NodeId, Padding, RekeyPolicy, Seed, Timing, Trust,
    VersionRange,
};
use handclasp_sim::{id, key};

use crate::input::Input;
use crate::owner::{Owner, SEND_BUFFER, START};
use crate::transparent::{HASH, Stamp, TAG, Transparent};

/// The link's own id, and the peer's.
pub(crate) const OWN: u8 = 1;
pub(crate) const PEER: u8 = 2;

thread_local! {
    /// Ids cost a multiplication on the curve each.
    static IDS: [NodeId; 4] = [id(0), id(OWN), id(PEER), id(3)];
}

pub(crate) fn id_of(number: u8) -> NodeId {
    IDS.with(|ids| ids[usize::from(number & 3)])
}

/// Who dials, and how the link is configured.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a bit of the input
pub(crate) struct Setup {
    pub(crate) initiator: bool,
    pub(crate) psk: bool,
    pub(crate) limits: Limits,
    trust: u8,
    holds: bool,
    quick: bool,
    pins: bool,
}

impl Setup {
    /// One of many, by two bytes.
    pub(crate) fn read(input: &mut Input<'_>) -> Self {
        let [one, two] = input.array();
        let small = one & 0x10 != 0;
        let limits = if small {
            Limits {
                max_message: 2000,
                window: 5000,
                max_calls: 3,
                idle: Duration::from_millis(500),
                max_record: 4096,
            }
        } else {
            Limits { window: 1 << 18, max_message: 1 << 17, ..Limits::default() }
        };
        Self {
            initiator: one & 1 != 0,
            psk: one & 2 != 0,
            trust: one >> 2 & 3,
            holds: one & 0x20 != 0,
            quick: one & 0x40 != 0,
            pins: two & 1 != 0,
            limits,
        }
    }

    pub(crate) fn suite(&self) -> Suite {
        if self.psk { Suite::NnPsk0ChaChaPoly } else { Suite::NnChaChaPoly }
    }

    pub(crate) fn owner(&self) -> Owner {
        let trust = match self.trust {
            0 => Trust::listed([id_of(PEER)]),
            1 => Trust::Anyone,
            2 => Trust::Ask,
            _ => Trust::listed([]),
        };
        let rekey = RekeyPolicy { records: if self.quick { 3 } else { 1 << 20 }, ..RekeyPolicy::default() };
        let timing = Timing { ephemeral: self.quick.then_some(Duration::from_secs(3)), ..Timing::default() };
        let mut builder = Config::builder(Stamp::of(id_of(OWN)), 1)
            .provider(Transparent)
            .trust(trust)
            .limits(self.limits)
            .rekey(rekey)
            .timing(timing)
            .padding(if self.quick { Padding::Padme } else { Padding::None })
            .send_buffer(SEND_BUFFER);
        if self.holds {
            builder = builder.hold_ready();
        }
        if self.psk {
            let secret = ClusterSecret::new(*b"sixteen bytes or").expect("a secret");
            builder = builder.cluster_secret(secret);
        }
        let config: Arc<Config> = builder.build().expect("a valid configuration");
        let seed = Seed::new([5; 32]);
        let link = if self.initiator {
            let dial = Dial { expected: self.pins.then(|| id_of(PEER)), sequence: 1 };
            Link::initiator(&config, dial, &seed, START)
        } else {
            Link::responder(&config, 1, &seed, START)
        };
        Owner::new(link, &config)
    }

    /// A link that is established, and what it has written on the way taken. `None` if it does not trust the peer.
    pub(crate) fn established(&self) -> Option<Owner> {
        let mut owner = self.owner();
        for message in self.handshake() {
            owner.act();
            owner.read_all(&message);
            owner.act();
            if owner.link.phase() == handclasp::Phase::Admission {
                owner.link.admit(owner.now);
            }
        }
        owner.act();
        owner.out.clear();
        (owner.link.phase() == handclasp::Phase::Established).then_some(owner)
    }

    /// Everything that the peer says in a handshake that succeeds.
    pub(crate) fn handshake(&self) -> Vec<Vec<u8>> {
        let auth = record(&auth(&self.hello(), PEER));
        if self.initiator {
            vec![second(), auth, record(&frame(1, 0, &accepts()))]
        } else {
            vec![self.first(), auth]
        }
    }

    /// Preamble and first message of the peer's.
    pub(crate) fn first(&self) -> Vec<u8> {
        let mut out = preamble(self.suite());
        let tag = if self.psk { &TAG[..] } else { &[] };
        out.extend(framed(&[&[9; 32], tag].concat()));
        out
    }

    /// The hello of a peer with the limits of the link.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let mut hello = Hello::new(VersionRange::only(1), SuiteSet::EMPTY.with(self.suite()), 7, 1);
        hello.limits = self.limits;
        let mut out = Vec::new();
        emit(&hello, &mut out).expect("a valid hello");
        out
    }
}

pub(crate) fn preamble(suite: Suite) -> Vec<u8> {
    vec![b'H', b'C', b'L', 1, suite.code(), 0, 0, 1 << (suite.code() - 1)]
}

/// `u16(length) ‖ body`; what is over the length is cut.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(usize::from(u16::MAX))];
    let mut out = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

/// The second message of a key exchange.
pub(crate) fn second() -> Vec<u8> {
    framed(&[&[9; 32][..], &TAG].concat())
}

/// A record of this plaintext.
pub(crate) fn record(text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(usize::from(u16::MAX) - TAG.len())];
    framed(&[text, &TAG].concat())
}

/// A frame with this body; what is over its length is cut.
pub(crate) fn frame(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let body = framed(body);
    [&[kind, flags], &body[..]].concat()
}

/// The plaintext of an AUTH.
pub(crate) fn auth(hello: &[u8], number: u8) -> Vec<u8> {
    [&[1], hello, id_of(number).as_bytes(), &[3; 64]].concat()
}

/// The body of a STATUS that accepts.
pub(crate) fn accepts() -> Vec<u8> {
    [&[0, 0, 1][..], &HASH].concat()
}

/// A real advert of the peer's.
pub(crate) fn advert() -> Vec<u8> {
    use handclasp::node::adverts::{Advert, AdvertContent};
    use handclasp::node::trust::UnixTime;
    let content = AdvertContent {
        version: 7,
        created: UnixTime::from_secs(1_800_000_000),
        addresses: vec![handclasp::hello::DialAddress { weight: 1, address: "b:1".into() }],
        capabilities: vec![
            handclasp::Capability::new("chat", 4..=7).expect("a capability").metadata(*b"meta"),
            handclasp::Capability::new("zip", 1..=3).expect("a capability").required(),
        ],
    };
    Advert::sign(content, &key(PEER)).expect("an advert").bytes().to_vec()
}

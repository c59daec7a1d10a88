//! What a recorded link was made from: its configuration, its role, and in an exact recording its secrets.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::BadRecording;
use super::blank;
use super::bytes::{Cursor, Writer};
use super::crypto::{Script, StandIn, StandInSigner};
use super::verdict::StandInJudge;
use crate::config::{Config, Padding, RekeyPolicy, StreamLimits, Timing, Trust};
use crate::crypto::{CryptoProvider, Secret, Seed, SuiteSet};
use crate::hello::Hello;
use crate::identity::NodeId;
use crate::signed::Judge;
use crate::time::Instant;
use crate::wire;

/// The bytes in the first line that name the format and its version.
const MAGIC: &[u8] = b"handclasp recording 1 ";
const FORMAT: &[u8] = b"handclasp recording ";
const REDACTED: &[u8] = b"redacted: no keys and no payloads\n";
const EXACT: &[u8] = b"exact: HOLDS SECRETS, who has it can read the link and play this side of it\n";

/// Writes the first line.
pub(crate) fn put_header(exact: bool, out: &mut Writer) {
    out.raw(MAGIC);
    out.raw(if exact { EXACT } else { REDACTED });
}

/// Reads the first line: whether the recording is exact.
pub(crate) fn get_header(from: &mut Cursor<'_>) -> Result<bool, BadRecording> {
    let bytes = from.rest();
    let exact = match bytes.strip_prefix(MAGIC) {
        Some(rest) if rest.starts_with(REDACTED) => false,
        Some(rest) if rest.starts_with(EXACT) => true,
        _ if bytes.starts_with(FORMAT) => return Err(BadRecording::OtherVersion),
        _ => return Err(BadRecording::NotARecording),
    };
    from.raw(MAGIC.len() + if exact { EXACT.len() } else { REDACTED.len() })?;
    Ok(exact)
}

/// What only an exact recording has.
#[derive(Debug)]
pub(crate) struct Secrets {
    pub(crate) seed: Seed,
    pub(crate) psks: Vec<Secret<32>>,
    pub(crate) network: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Origin {
    /// The version of the crate that recorded.
    pub(crate) version: String,
    pub(crate) initiator: bool,
    pub(crate) managed: bool,
    pub(crate) start: Instant,
    pub(crate) own: NodeId,
    pub(crate) expected: Option<NodeId>,
    pub(crate) hello: Hello,
    pub(crate) trust: Trust,
    pub(crate) suites: SuiteSet,
    /// How many cluster secrets there are.
    pub(crate) psks: usize,
    pub(crate) timing: Timing,
    pub(crate) rekey: RekeyPolicy,
    pub(crate) padding: Padding,
    pub(crate) send_buffer: usize,
    pub(crate) streams: StreamLimits,
    /// Whether the node takes signed messages.
    pub(crate) judges: bool,
    /// The number of the first ping: of what the seed gives, all that goes to the peer and is no secret.
    pub(crate) first_ping: u64,
    pub(crate) secrets: Option<Secrets>,
}

impl Origin {
    pub(crate) fn put(&self, out: &mut Writer) {
        out.string(self.version.as_bytes());
        out.flag(self.initiator);
        out.flag(self.managed);
        out.instant(self.start);
        out.raw(self.own.as_bytes());
        out.flag(self.expected.is_some());
        out.raw(self.expected.as_ref().map_or(&[], |id| id.as_bytes().as_slice()));
        let mut hello = self.hello.clone();
        if self.secrets.is_none() {
            blank::hello(&mut hello);
        }
        let mut bytes = Vec::new();
        // A link has checked it when it was made; one that is too large was never sent, and stands here as
        // none.
        let _ = wire::hello::emit(&hello, &mut bytes);
        out.string(&bytes);
        match (&self.trust, &self.secrets) {
            (Trust::Listed(_), None) => out.byte(0),
            (Trust::Listed(ids), Some(_)) => {
                out.byte(3);
                out.length(ids.len());
                ids.iter().for_each(|id| out.raw(id.as_bytes()));
            }
            (Trust::Anyone, _) => out.byte(1),
            (Trust::Ask, _) => out.byte(2),
        }
        out.number(self.suites.bits().into());
        out.length(self.psks);
        self.put_policies(out);
        out.flag(self.judges);
        out.number(self.first_ping);
        if let Some(Secrets { seed, psks, network }) = &self.secrets {
            out.raw(seed.secret().expose());
            for psk in psks {
                out.raw(psk.expose());
            }
            out.string(network);
        }
    }

    fn put_policies(&self, out: &mut Writer) {
        let Timing { step, handshake, stall, drain, flush, ready, ephemeral } = &self.timing;
        for duration in [step, handshake, stall, drain, flush, ready] {
            out.duration(*duration);
        }
        out.flag(ephemeral.is_some());
        if let Some(ephemeral) = ephemeral {
            out.duration(*ephemeral);
        }
        out.number(self.rekey.records);
        out.number(self.rekey.bytes);
        out.duration(self.rekey.age);
        match self.padding {
            Padding::None => out.byte(0),
            Padding::Block(block) => {
                out.byte(1);
                out.number(block.into());
            }
            Padding::Padme => out.byte(2),
        }
        out.number(self.send_buffer as u64);
        let StreamLimits { max_open, window, largest_window, growth, send_buffer } = self.streams;
        for number in [max_open, window, largest_window, growth, send_buffer] {
            out.number(number.into());
        }
    }

    pub(crate) fn get(exact: bool, from: &mut Cursor<'_>) -> Result<Self, BadRecording> {
        let version = from.text()?;
        let (initiator, managed, start) = (from.flag()?, from.flag()?, from.instant()?);
        let own = id(from)?;
        let expected = if from.flag()? { Some(id(from)?) } else { None };
        let hello = wire::hello::parse(from.string()?)
            .map_err(|_| BadRecording::Malformed("a hello that is none"))?;
        let trust = match from.byte()? {
            0 => Trust::listed([]),
            1 => Trust::Anyone,
            2 => Trust::Ask,
            3 => {
                let mut ids = BTreeSet::new();
                for _ in 0..from.length()? {
                    ids.insert(id(from)?);
                }
                Trust::Listed(Arc::new(ids))
            }
            _ => return Err(BadRecording::Malformed("no such trust")),
        };
        let suites = SuiteSet::from_bits(from.small()?);
        let psks = from.length()?;
        if psks > MOST_PSKS {
            return Err(BadRecording::Malformed("more cluster secrets than anybody has"));
        }
        let timing = Timing {
            step: from.duration()?,
            handshake: from.duration()?,
            stall: from.duration()?,
            drain: from.duration()?,
            flush: from.duration()?,
            ready: from.duration()?,
            ephemeral: if from.flag()? { Some(from.duration()?) } else { None },
        };
        let rekey = RekeyPolicy { records: from.number()?, bytes: from.number()?, age: from.duration()? };
        let padding = match from.byte()? {
            0 => Padding::None,
            1 => Padding::Block(from.small()?),
            2 => Padding::Padme,
            _ => return Err(BadRecording::Malformed("no such padding")),
        };
        let send_buffer = from.small()?;
        let streams = StreamLimits {
            max_open: from.small()?,
            window: from.small()?,
            largest_window: from.small()?,
            growth: from.small()?,
            send_buffer: from.small()?,
        };
        let judges = from.flag()?;
        let first_ping = from.number()?;
        let mut secrets = None;
        if exact {
            let seed = Seed::new(from.array()?);
            let psks = (0..psks).map(|_| from.array().map(Secret::new)).collect::<Result<_, _>>()?;
            secrets = Some(Secrets { seed, psks, network: from.string()?.to_vec() });
        }
        Ok(Self {
            version,
            initiator,
            managed,
            start,
            own,
            expected,
            hello,
            trust,
            suites,
            psks,
            timing,
            rekey,
            padding,
            send_buffer,
            streams,
            judges,
            first_ping,
            secrets,
        })
    }

    /// The configuration of the link that replays. `listed` are the peers that a redacted recording met and
    /// that were on its list.
    pub(crate) fn config(
        &self,
        provider: &Arc<dyn CryptoProvider>,
        script: &Script,
        listed: impl IntoIterator<Item = NodeId>,
    ) -> Result<Arc<Config>, BadRecording> {
        let signer = StandInSigner { id: self.own, script: script.clone() };
        let built = Config::builder(signer, 0).build();
        let mut shared = built.map_err(|_| BadRecording::Malformed("a configuration that is none"))?;
        let Some(config) = Arc::get_mut(&mut shared) else { return Ok(shared) };
        config.hello.clone_from(&self.hello);
        config.timing.clone_from(&self.timing);
        config.rekey.clone_from(&self.rekey);
        config.padding = self.padding;
        config.send_buffer = self.send_buffer;
        config.streams = self.streams;
        config.suites = self.suites;
        config.signed =
            self.judges.then(|| Arc::new(StandInJudge { script: script.clone() }) as Arc<dyn Judge>);
        if let Some(secrets) = &self.secrets {
            config.provider = Arc::clone(provider);
            config.psks.clone_from(&secrets.psks);
            config.network.clone_from(&secrets.network);
            config.trust = self.trust.clone();
        } else {
            config.provider = Arc::new(StandIn { script: script.clone(), hashes: Arc::clone(provider) });
            config.psks = alloc::vec![Secret::default(); self.psks];
            config.trust = match &self.trust {
                Trust::Listed(_) => Trust::listed(listed),
                trust => trust.clone(),
            };
        }
        Ok(shared)
    }
}

/// More secrets than this are no rotation.
const MOST_PSKS: usize = 4096;

fn id(from: &mut Cursor<'_>) -> Result<NodeId, BadRecording> {
    NodeId::from_bytes(from.array()?).map_err(|_| BadRecording::Malformed("an id that is none"))
}

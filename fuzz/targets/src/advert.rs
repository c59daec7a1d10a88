//! Adverts, and the store that keeps them.

use handclasp::NodeId;
use handclasp::node::adverts::{Advert, AdvertStore, Inserted, InvalidAdvert, MAX_ADVERT};

use crate::transparent::{Stamp, Transparent, WRONG};

/// Reads `u16(length) ‖ advert ‖ advert`. Each has one form, and a store keeps the newer one of a node's two.
pub(crate) fn run(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let (one, other) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
    let (first, second) = (checked(one), checked(other));
    let Some(from) = first.as_ref().or(second.as_ref()).map(Advert::id) else { return };
    let mut store = AdvertStore::new(1);
    for (bytes, advert) in [(one, &first), (other, &second), (one, &first)] {
        let before = store.version(&from);
        let inserted = store.insert(from, bytes, &Transparent);
        let version = store.version(&from);
        assert!(version >= before, "version {version} in place of {before}");
        match inserted {
            Ok(Inserted::New) => assert_eq!(before, 0),
            Ok(Inserted::Newer { old }) => assert!(old == before && version > before),
            Ok(Inserted::Stale { held }) => assert!(held == before && version == before),
            Ok(Inserted::Same) => assert_eq!(version, before),
            Ok(Inserted::Forked { held, other }) => {
                assert_eq!((held.version(), held.id()), (other.version(), other.id()));
                assert!(held.content() != other.content() && version == before);
            }
            Ok(other) => panic!("{other:?} in a store with room"),
            Err(why) => {
                assert_eq!(version, before);
                let foreign = matches!(why, InvalidAdvert::NotTheirs { .. });
                // A store asks for the signature of what it takes only.
                assert!(advert.as_ref().is_none_or(|advert| foreign && advert.id() != from), "{why}");
            }
        }
        assert!(store.len() <= 1);
    }
}

/// The advert in these bytes, if they are one that is signed by a valid id.
fn checked(bytes: &[u8]) -> Option<Advert> {
    let unverified = Advert::parse(bytes).ok()?;
    assert!(bytes.len() <= MAX_ADVERT && unverified.version() > 0);
    let signature = *bytes.last_chunk::<64>().expect("a signature");
    let (id, verified) = (NodeId::from_bytes(*unverified.id().as_bytes()), unverified.verify(&Transparent));
    let advert = match verified {
        Ok(advert) => advert,
        Err(InvalidAdvert::BadSignature) => {
            assert_eq!(signature[0], WRONG);
            return None;
        }
        Err(why) => {
            assert!(matches!(why, InvalidAdvert::NotAnId(_)) && id.is_err(), "{why}");
            return None;
        }
    };
    assert_eq!(advert.bytes(), bytes);
    let stamp = Stamp { id: advert.id(), signature };
    let signed = Advert::sign(advert.content().clone(), &stamp).expect("what was read can be written");
    assert_eq!(signed.bytes(), bytes, "{advert:?}");
    Some(advert)
}

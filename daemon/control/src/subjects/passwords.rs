//! Passwords: the policy, and Argon2id on a bounded pool, so that a storm of logins starves nobody.

use crate::config::Argon2Config;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::phc::{Output, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use gatehouse_common::problem::{Code, Problem};
use gatehouse_common::secret::Secret;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Passwords that may wait for a hash; more are told to come back.
const QUEUE: usize = 64;
/// glibc maps a block of more than 32 MiB for itself and gives it back when it is freed; smaller ones it keeps, in
/// pieces, for good: a gigabyte was seen after a storm of logins. Only what is used of a block is resident.
const MAPPED_BLOCKS: usize = 33 * 1024;
const SPECIAL: &str = "!@#$%^&*()-_=+[]{};:,.<>?/";

/// spec/doorman.md 2.5: 16 to 50 characters of four kinds.
pub(crate) fn policy(password: &str) -> Result<(), Problem> {
    let has = |test: fn(char) -> bool| password.chars().any(test);
    let length = password.chars().count();
    let good = (16..=50).contains(&length)
        && has(char::is_uppercase)
        && has(char::is_lowercase)
        && has(|c| c.is_ascii_digit())
        && has(|c| SPECIAL.contains(c));
    let text =
        "Password must have 16 to 50 characters, with upper and lower case, a digit and a special character";
    if good { Ok(()) } else { Err(Problem::compat(400, "USR005", text).at("password")) }
}

/// Hashes and verifies, a few at a time.
pub(crate) struct Hasher {
    argon2: Argon2<'static>,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Verified when a user is unknown, so that the time of an answer does not tell who exists.
    decoy: String,
}

impl Hasher {
    pub(crate) fn start(cost: Argon2Config, threads: usize) -> Result<Self, Problem> {
        let internal = |error: argon2::Error| Problem::new(Code::Internal, format!("argon2: {error}"));
        let params = Params::new(cost.memory_kib, cost.iterations, cost.lanes, None).map_err(internal)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = decoy(argon2.params());
        let (running, waiting) = (Arc::new(Semaphore::new(threads.max(1))), Arc::new(Semaphore::new(QUEUE)));
        Ok(Self { argon2, running, waiting, decoy })
    }

    /// The PHC string of a password.
    pub(crate) async fn hash(&self, password: Secret<String>) -> Result<String, Problem> {
        let argon2 = self.argon2.clone();
        self.pooled(move || hash(&argon2, password.expose())).await?
    }

    /// Whether a password belongs to a hash; without one it takes as long and says no.
    pub(crate) async fn verify(
        &self,
        password: Secret<String>,
        phc: Option<String>,
    ) -> Result<bool, Problem> {
        let (known, phc) = (phc.is_some(), phc.unwrap_or_else(|| self.decoy.clone()));
        let matches = self.pooled(move || {
            // What is no hash, of an older backup perhaps, matches nothing.
            belongs(password.expose(), &phc).unwrap_or(false)
        });
        Ok(matches.await? && known)
    }

    async fn pooled<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let full = || Problem::new(Code::TooManyRequests, "too many passwords are being checked");
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| full())?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| full())?;
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop((place, turn));
            outcome
        });
        outcome.await.map_err(|error| Problem::new(Code::Internal, error.to_string()))
    }
}

/// A string that costs as much to verify as any other and that no password belongs to. Not a real hash: that
/// would cost its time at each start.
fn decoy(params: &Params) -> String {
    let [salt, hash] = [
        STANDARD_NO_PAD.encode(rand::random::<[u8; 16]>()),
        STANDARD_NO_PAD.encode(rand::random::<[u8; Params::DEFAULT_OUTPUT_LEN]>()),
    ];
    phc(params, &salt, &hash)
}

/// Most memory of a hash from elsewhere, KiB, and most passes and lanes.
const BEARABLE: (u32, u32, u32) = (262_144, 16, 16);

/// Whether a hash from elsewhere can be verified here, at a cost that keeps nobody out.
pub(crate) fn bearable(phc: &str) -> bool {
    let Ok(known) = PasswordHash::new(phc) else { return false };
    let argon2id =
        Algorithm::try_from(known.algorithm.as_str()).is_ok_and(|kind| kind == Algorithm::Argon2id);
    let bounded = Params::try_from(&known).is_ok_and(|params| {
        params.m_cost() <= BEARABLE.0 && params.t_cost() <= BEARABLE.1 && params.p_cost() <= BEARABLE.2
    });
    argon2id && bounded && known.salt.is_some() && known.hash.is_some()
}

type Failed = argon2::password_hash::Error;

/// One hash in memory of its own, which is given back.
fn compute(argon2: &Argon2<'_>, password: &str, salt: &[u8], length: usize) -> Result<Output, Failed> {
    let count = argon2.params().block_count();
    let mut memory = Vec::with_capacity(count.max(MAPPED_BLOCKS));
    memory.resize(count, Block::default());
    let mut out = vec![0; length];
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut out, &mut memory)?;
    Ok(Output::new(&out)?)
}

fn belongs(password: &str, phc: &str) -> Result<bool, Failed> {
    let known = PasswordHash::new(phc)?;
    let algorithm = Algorithm::try_from(known.algorithm.as_str())?;
    let version = known.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let argon2 = Argon2::new(algorithm, version, Params::try_from(&known)?);
    let (Some(salt), Some(hash)) = (&known.salt, &known.hash) else { return Ok(false) };
    // Outputs compare in constant time.
    Ok(compute(&argon2, password, salt, hash.len())? == *hash)
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, Problem> {
    let internal = |error: Failed| Problem::new(Code::Internal, format!("argon2: {error}"));
    let salt = Salt::new(&rand::random::<[u8; 16]>()).map_err(|error| internal(error.into()))?;
    let length = argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let hash = compute(argon2, password, &salt, length).map_err(internal)?;
    let params = argon2.params();
    Ok(phc(params, &STANDARD_NO_PAD.encode(&*salt), &STANDARD_NO_PAD.encode(hash.as_bytes())))
}

/// The PHC string format: <https://github.com/P-H-C/phc-string-format>.
fn phc(params: &Params, salt: &str, hash: &str) -> String {
    let (memory_kib, iterations, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    format!("$argon2id$v=19$m={memory_kib},t={iterations},p={lanes}${salt}${hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoy_differs_from_a_hash_in_nothing_but_its_bytes() {
        let cost = Argon2Config { memory_kib: 64, iterations: 2, lanes: 1 };
        let hasher = Hasher::start(cost, 1).unwrap();
        let real = hash(&hasher.argon2, "a password").unwrap();
        let parsed = [&hasher.decoy, &real].map(|text| PasswordHash::new(text).unwrap());
        let [decoy, real] = parsed.map(|one| {
            (one.algorithm, one.version, one.params, one.hash.unwrap().len(), one.salt.unwrap().len())
        });
        assert_eq!(decoy, real);
    }

    #[test]
    fn a_hash_belongs_to_its_password_alone() {
        let cost = Argon2Config { memory_kib: 64, iterations: 1, lanes: 1 };
        let hasher = Hasher::start(cost, 1).unwrap();
        let made = hash(&hasher.argon2, "a password").unwrap();
        assert!(belongs("a password", &made).unwrap() && !belongs("another", &made).unwrap());
        // Of the reference implementation, with its own cost.
        let foreign =
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(belongs("password", foreign).unwrap() && !belongs("Password", foreign).unwrap());
        assert!(belongs("x", "not a hash").is_err());
    }

    #[test]
    fn the_policy() {
        assert!(policy("Abcdefgh1234567!").is_ok());
        for bad in [
            "Abcdefgh123456!",
            "abcdefgh1234567!",
            "ABCDEFGH1234567!",
            "Abcdefghijklmno!",
            "Abcdefgh12345678",
        ] {
            assert!(policy(bad).is_err(), "{bad}");
        }
    }
}

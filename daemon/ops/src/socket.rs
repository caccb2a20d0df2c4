//! The two sockets: `operate.sock` for who may change, `view.sock` for who may look. The mode and the group of the
//! file are the permission; peer credentials name the actor.

use crate::OpsConfig;
use gatehouse_common::problem::{Code, Problem};
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// File name of the socket that may change.
pub(crate) const OPERATE: &str = "operate.sock";
/// File name of the socket that may look.
pub(crate) const VIEW: &str = "view.sock";
/// Owner and group may connect.
const MODE: u32 = 0o660;
/// Longest path of a Unix socket, bytes (unix(7): `sun_path`, with its closing zero).
const PATH_BYTES: usize = 107;

/// Opens both.
pub(crate) fn open_both(config: &OpsConfig) -> Result<[UnixListener; 2], Problem> {
    let folder = &config.runtime_dir;
    let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
    made.map_err(|error| refused(folder, error))?;
    Ok([
        open(&folder.join(OPERATE), &config.operators_group)?,
        open(&folder.join(VIEW), &config.viewers_group)?,
    ])
}

fn refused(path: &Path, why: impl std::fmt::Display) -> Problem {
    let text = format!("runtime_dir: {}: {why}", path.display());
    Problem::new(Code::Conflict, text).at("runtime_dir")
}

fn open(path: &Path, group: &str) -> Result<UnixListener, Problem> {
    if path.as_os_str().len() > PATH_BYTES {
        return Err(refused(path, format!("expected at most {PATH_BYTES} bytes for a socket's path")));
    }
    clear(path)?;
    let listener = UnixListener::bind(path).map_err(|error| refused(path, error))?;
    give(path, group);
    std::fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(|error| refused(path, error))?;
    listener.set_nonblocking(true).map_err(|error| refused(path, error))?;
    Ok(listener)
}

/// Removes what an ended daemon left; a living one, or a file that is no socket, keeps its place.
fn clear(path: &Path) -> Result<(), Problem> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(path, error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(refused(path, "a file is there that is no socket; move it away"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(refused(path, "another process answers there; end it or choose another runtime_dir")),
        Err(_) => std::fs::remove_file(path).map_err(|error| refused(path, error)),
    }
}

/// Gives the socket to a group. Without such a group, as on a developer's machine, only the owner connects.
fn give(path: &Path, group: &str) {
    let found = nix::unistd::Group::from_name(group);
    let given = match found {
        Ok(Some(group)) => std::os::unix::fs::chown(path, None, Some(group.gid.as_raw())),
        Ok(None) => return tracing::debug!(target: "ops", group, "no such group"),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = given {
        tracing::warn!(target: "ops", group, socket = %path.display(), %error, "the group was not given the socket");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(OPERATE);
        drop(UnixListener::bind(&path).unwrap());
        let living = open(&path, "no-such-group").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let problem = open(&path, "no-such-group").unwrap_err();
        assert!(problem.detail.contains("another process answers"), "{problem}");
        drop(living);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert!(open(&path, "no-such-group").unwrap_err().detail.contains("no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        let long = folder.path().join("x".repeat(120));
        assert!(open(&long, "no-such-group").unwrap_err().detail.contains("107 bytes"));
    }
}

//! A socket in the data directory, for this program's own subcommands: whoever may read the directory may use it.

use std::fs::{File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::admin::queues::QueueCommand;
use crate::broker::{Broker, Waiter};
use crate::storage::Keeper;

/// The name of the socket.
const SOCKET: &str = "control.sock";
/// A path to a socket may not be longer than about this (`sun_path`).
const PATH_MAX: usize = 100;
/// Bytes of the longest request.
const REQUEST_MAX: u64 = 1 << 20;
/// How long a request may take to come.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// The path of the socket, by way of the open folder where it would be too long; good as long as that stays open.
fn path(data_dir: &Path) -> std::io::Result<(PathBuf, Option<File>)> {
    let path = data_dir.join(SOCKET);
    if path.as_os_str().len() < PATH_MAX {
        return Ok((path, None));
    }
    let folder = File::open(data_dir)?;
    Ok((format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()).into(), Some(folder)))
}

/// Reaches the broker of a data directory.
///
/// # Errors
/// If there is none.
pub fn connect(data_dir: &Path) -> std::io::Result<std::os::unix::net::UnixStream> {
    let (path, _folder) = path(data_dir)?;
    std::os::unix::net::UnixStream::connect(path)
}

/// Binds the socket in place of one that an earlier process left.
pub fn bind(data_dir: &Path) -> std::io::Result<UnixListener> {
    let (path, _folder) = path(data_dir)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers requests, for ever.
pub async fn run(listener: UnixListener, broker: Arc<Broker>, keeper: Option<Arc<Keeper<Waiter>>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, broker.clone(), keeper.clone()))),
            Err(error) => {
                tracing::warn!(%error, "control socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One request, a line; one answer, a line of JSON.
async fn serve(stream: UnixStream, broker: Arc<Broker>, keeper: Option<Arc<Keeper<Waiter>>>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(REQUEST_MAX));
    let mut line = String::new();
    let Ok(Ok(_)) = timeout(REQUEST_TIME, read.read_line(&mut line)).await else { return };
    let line = line.trim_end();
    if line == "backup" {
        return back_up(read, write, broker, keeper).await;
    }
    let Some(command) = line.strip_prefix("queue ") else { return };
    let answer = match serde_json::from_str::<QueueCommand>(command) {
        Ok(command) => {
            tracing::info!(?command, "asked by the control socket");
            command.run(&broker).await.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }))
        }
        Err(error) => serde_json::json!({ "error": error.to_string() }),
    };
    let _ = write.write_all(format!("{answer}\n").as_bytes()).await; // whoever asked may have gone
}

/// `backup`: a checkpoint is made, and the answer names the files and how many bytes of each to copy. They stay as they are until the
/// other side closes.
async fn back_up(
    mut read: BufReader<Take<OwnedReadHalf>>,
    mut write: OwnedWriteHalf,
    broker: Arc<Broker>,
    keeper: Option<Arc<Keeper<Waiter>>>,
) {
    let Some(keeper) = keeper else {
        let _ = write.write_all(b"{\"error\":\"nothing is stored: durability is memory\"}\n").await;
        return;
    };
    let mut line = String::new();
    let held = tokio::task::spawn_blocking(move || keeper.hold(&*broker)).await;
    let answer = match &held {
        Ok(Ok(Some(held))) => serde_json::json!({ "files": held.files }),
        Ok(Ok(None)) => serde_json::json!({ "error": "the broker is stopping, or its disk is full" }),
        Ok(Err(error)) => serde_json::json!({ "error": error.to_string() }),
        Err(_) => serde_json::json!({ "error": "the checkpoint could not be made" }),
    };
    if write.write_all(format!("{answer}\n").as_bytes()).await.is_ok() {
        tracing::info!("backup: files are held");
        let _ = read.read_line(&mut line).await; // ends when the other side has copied, or is gone
        tracing::info!("backup: files are let go");
    }
    // Letting go wakes the committer, which may be writing.
    drop(held);
}

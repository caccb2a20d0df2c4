//! Runs the health checks every few seconds and remembers since when each item holds.

use crate::audit::AuditTrail;
use crate::health::{self, Sight};
use crate::windows::Windows;
use crate::world::World;
use gatehouse_common::health::{HealthItem, Severity};
use gatehouse_common::ops::metrics::Window;
use gatehouse_corridor::tasks::TaskGroup;
use gatehouse_corridor::telemetry::Telemetry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(5);

/// What was seen last.
#[derive(Debug, Clone, Default)]
struct Seen {
    items: Vec<HealthItem>,
    disk_free: Option<f64>,
    backup_age: Option<u64>,
}

/// The monitor; cheap to clone.
#[derive(Clone)]
pub(crate) struct Monitor {
    seen: Arc<RwLock<Seen>>,
    world: Arc<World>,
    audit: AuditTrail,
    windows: Windows,
    telemetry: Arc<Telemetry>,
}

impl Monitor {
    /// Starts looking.
    pub(crate) fn start(
        world: &Arc<World>,
        sources: (&AuditTrail, &Windows, &Arc<Telemetry>),
        tasks: &TaskGroup,
    ) -> Self {
        let (audit, windows, telemetry) = sources;
        let monitor = Self {
            seen: Arc::default(),
            world: Arc::clone(world),
            audit: audit.clone(),
            windows: windows.clone(),
            telemetry: Arc::clone(telemetry),
        };
        let looking = monitor.clone();
        tasks.spawn(async move {
            let mut tick = tokio::time::interval(PERIOD);
            loop {
                tick.tick().await;
                looking.look().await;
            }
        });
        monitor
    }

    /// Looks now; the items, worst first.
    pub(crate) async fn look(&self) -> Vec<HealthItem> {
        let backup_age = health::backup_age(&self.world).await;
        let sight = Sight {
            backup_age,
            world: &self.world,
            audit: &self.audit,
            windows: &self.windows,
            telemetry: &self.telemetry,
        };
        let mut items = Vec::new();
        for check in health::LIST {
            let named = |item| HealthItem { check: check.name.to_owned(), ..item };
            items.extend((check.look)(&sight).await.into_iter().map(named));
        }
        let disk = self.world.disk().ok();
        let disk_free = disk.map(|(free, whole)| free as f64 / whole.max(1) as f64);
        let backup_age = backup_age.map(|age| age.as_secs());
        self.tell(&items, disk.map(|(free, _)| free), backup_age);
        let now_ms = self.world.clock.unix_ms();
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        for item in &mut items {
            let before = seen.items.iter().find(|old| (&old.code, &old.check) == (&item.code, &item.check));
            item.since_unix_ms = before.map_or(now_ms, |old| old.since_unix_ms);
        }
        items.sort_by_key(|item| std::cmp::Reverse(item.severity));
        *seen = Seen { items: items.clone(), disk_free, backup_age };
        items
    }

    /// Leaves what was seen where `/metrics` finds it.
    fn tell(&self, items: &[HealthItem], disk_free: Option<u64>, backup_age: Option<u64>) {
        let count = |severity| items.iter().filter(|item| item.severity == severity).count() as u64;
        let known = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1);
        let seen = &self.telemetry.seen;
        seen.warnings.store(count(Severity::Warning), Ordering::Relaxed);
        seen.criticals.store(count(Severity::Critical), Ordering::Relaxed);
        seen.disk_free_bytes.store(known(disk_free), Ordering::Relaxed);
        seen.backup_age_secs.store(known(backup_age), Ordering::Relaxed);
    }

    /// Adds to a window what is not counted but looked at.
    pub(crate) fn complete(&self, mut window: Window) -> Window {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        window.notices = seen.items.iter().filter(|item| item.severity >= Severity::Warning).count() as u64;
        window.disk_free = seen.disk_free;
        window.backup_age_secs = seen.backup_age;
        window.rss_bytes = resident();
        window
    }
}

/// Resident memory of this process, bytes (proc(5), `statm`: pages); 0 if the kernel does not say.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

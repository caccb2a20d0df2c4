#!/usr/bin/env bash
# The package in a Debian of its own, booted: installs target/deb/gatehouse_*.deb (or the file named), breaks,
# upgrades, removes and purges it. About a minute, two more to make the root the first time; 15 at most.
# Needs root and namespaces; where there are none it says SKIPPED and ends with 0.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  printf '\n*** SKIPPED: the package was NOT tested: %s ***\n\n' "$1" >&2
  exit 0
}

work=$PWD/target/package-test root=$PWD/target/package-test/root name=gatehouse-test-$$
run_dir=$work/run.$$ leader='' nspawn='' passed=0 failed=0
client='perl /srv/client.pl'

# --- the machine -------------------------------------------------------------------------------------------------

prepare() {
  [ "$(id -u)" = 0 ] || skip "it needs root"
  unshare -m -p -f true 2>/dev/null || skip "this machine makes no namespaces"
  cgroup2=$(findmnt -n -t cgroup2 -o TARGET | head -1)
  [ -n "$cgroup2" ] || skip "no cgroup2 hierarchy is mounted"
  if ! command -v mmdebstrap systemd-nspawn >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends mmdebstrap systemd-container ||
      skip "mmdebstrap and systemd-container cannot be installed"
  fi
  # The marker is named anew whenever the list of packages changes, so that an older root is made anew.
  if [ ! -e "$root/.made-2" ]; then
    rm -rf "$root" && mkdir -p "$work"
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates bookworm "$root" ||
      skip "no Debian root could be made (is the mirror reachable?)"
    : >"$root/etc/machine-id" && touch "$root/.made-2"
  fi
}

# Boots the root below an overlay in memory. Nothing but its own loopback can be reached from in there.
boot() {
  mkdir -p "$run_dir"
  mount -t tmpfs -o size=2g tmpfs "$run_dir"
  mkdir "$run_dir"/{upper,lay,root}
  mount -t overlay overlay -o "lowerdir=$root,upperdir=$run_dir/upper,workdir=$run_dir/lay" "$run_dir/root"
  cp "$deb" "$run_dir/root/srv/old.deb"
  cp packaging/test-client.pl "$run_dir/root/srv/client.pl"
  newer "$deb" "$run_dir/root/srv/new.deb"
  export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
  # A cgroup of its own for the whole; nspawn leaves it where it is (--keep-unit). Where systemd is not the
  # machine's init, nspawn wants a /run/systemd that is not on a disk.
  mkdir "$cgroup2/$name"
  setsid unshare -m bash -c '
    set -e; echo $$ >"$1/cgroup.procs"; shift
    [ -d /run/systemd/system ] || { mkdir -p /run/systemd; mount -t tmpfs tmpfs /run/systemd; }
    exec systemd-nspawn --quiet --register=no --keep-unit --console=pipe --private-network \
      --kill-signal=SIGRTMIN+3 --machine="$1" --directory="$2" --boot
  ' boot "$cgroup2/$name" "$name" "$run_dir/root" </dev/null >"$run_dir/console" 2>&1 &
  nspawn=$!
  local state=''
  for _ in $(seq 300); do
    kill -0 "$nspawn" 2>/dev/null || break
    leader=$(pgrep -P "$nspawn" | head -1) || true
    [ -z "$leader" ] || state=$(inside systemctl is-system-running 2>/dev/null) || true
    case $state in running | degraded) return ;; esac
    sleep 0.2
  done
  tail -20 "$run_dir/console" >&2
  skip "the root does not boot here (state: ${state:-none})"
}

halt() {
  trap - EXIT
  if [ -n "$nspawn" ]; then
    kill -TERM "$nspawn" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$nspawn" 2>/dev/null || break; sleep 0.2; done
    kill -KILL "$nspawn" 2>/dev/null || true
    wait "$nspawn" 2>/dev/null || true
  fi
  umount "$run_dir/root" 2>/dev/null || true
  umount "$run_dir" 2>/dev/null || true
  rmdir "$run_dir" 2>/dev/null || true
  [ ! -d "$cgroup2/$name" ] || find "$cgroup2/$name" -depth -type d -exec rmdir {} + 2>/dev/null || true
}

inside() {
  timeout -k 5 120 nsenter -t "$leader" -a -- \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# The same package with a higher version.
newer() {
  local tree
  tree=$(mktemp -d)
  dpkg-deb -R "$1" "$tree"
  sed -i 's/^Version: .*/&+next1/' "$tree/DEBIAN/control"
  dpkg-deb --root-owner-group -Znone -b "$tree" "$2" >/dev/null
  rm -rf "$tree"
}

# --- the checks --------------------------------------------------------------------------------------------------

# check WHAT SCRIPT: runs it inside with -e; prints what it printed if it failed, or if WHAT ends with a colon.
check() {
  local said code=0
  said=$(inside sh -ec "$lib
$2" 2>&1) || code=$?
  if [ "$code" = 0 ]; then
    passed=$((passed + 1)) && echo "ok    $1"
    case $1 in *:) printf '%s\n' "$said" | sed 's/^/        /' ;; esac
  else
    failed=$((failed + 1)) && echo "FAIL  $1 (exit $code)"
    printf '%s\n' "$said" | tail -25 | sed 's/^/        /'
  fi
}

# Words of the scripts inside.
lib='
pid() { systemctl show -P MainPID gatehoused.service; }
call() { '"$client"' call "$@"; }
not() { if "$@"; then echo "not wanted: $*"; return 1; fi; }
refused() { call GET / | grep -qi refused; }
alive() { call GET /platform/monitor/liveness | grep -q "^200 "; }
until_true() { i=0; until eval "$1"; do i=$((i + 1)); [ $i -lt 100 ] || { echo "waited in vain: $1"; return 1; }; sleep 0.2; done; }
login() { call POST /platform/authorization "" "{\"email\":\"admin@localhost.localdomain\",\"password\":\"$1\"}" | sed -n "s/^200 .*access_token\":\"\([^\"]*\).*/\1/p"; }
drop_in() { mkdir -p /run/systemd/system/gatehoused.service.d; printf "[Service]\n%s\n" "$1" >/run/systemd/system/gatehoused.service.d/test.conf; systemctl daemon-reload; }
no_drop_in() { rm -rf /run/systemd/system/gatehoused.service.d; systemctl daemon-reload; }
under_load() { rm -f /tmp/stop; '"$client"' load /tmp/stop >/srv/load & sleep 1; "$@"; sleep 1; touch /tmp/stop; wait; cat /srv/load; grep -q "^[1-9].* 0 refused" /srv/load; }
listing() { find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /run/systemd -o -path "/run/log" \
  -o -path /var/log/journal -o -path /var/log/apt -o -path /var/cache -o -path /var/lib/apt -o -path /srv \) -prune -o -print |
  grep -vE "^/var/(tmp|lib)/systemd|^/var/lib/dpkg/|^/var/log/(dpkg|alternatives).log|^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|^/etc/.pwd.lock$" | sort; cat /etc/passwd /etc/group | sort; }
'

installing() {
  inside sh -ec "$lib listing >/srv/before"
  check "installs" 'dpkg -i /srv/old.deb; test -x /usr/bin/gatehoused; test -f /etc/gatehouse/gatehouse.toml
    test -s /usr/share/man/man8/gatehoused.8.gz; dpkg-query -W -f "\${Conffiles}" gatehouse | grep -q /etc/gatehouse/gatehouse.toml'
  check "service and socket are enabled and active" 'for what in is-enabled is-active; do systemctl $what gatehoused.service gatehoused.socket; done'
  check "answers on its port" 'alive'
  check "user and groups are there" 'id gatehouse && getent group gatehouse-operators gatehouse-viewers'
  check "runs as gatehouse, in both groups, without a capability" 'grep -q "^CapEff:.*0000000000000000" /proc/$(pid)/status
    for group in operators viewers; do grep -q "^Groups:.*\b$(getent group gatehouse-$group | cut -d: -f3)\b" /proc/$(pid)/status; done
    test "$(stat -c %U /proc/$(pid))" = gatehouse'
  check "folders have their modes" 'test "$(stat -c %a:%U /run/gatehouse /var/lib/gatehouse /var/log/gatehouse | tr "\n" " ")" = "755:gatehouse 700:gatehouse 700:gatehouse "
    ls /var/log/gatehouse | grep .'
  check "the password is root's to find, and not in the journal" 'file=/var/lib/gatehouse/admin-password
    test "$(stat -c %a $file)" = 600; journalctl -u gatehoused | grep -q "password in: $file"
    journalctl -o cat >/srv/journal; not grep -qF "$(cat $file)" /srv/journal; not runuser -u nobody -- cat $file
    login "$(cat $file)" >/srv/token; test -s /srv/token'
  check "sandbox, at most 2.0:" 'systemd-analyze verify --man=no /lib/systemd/system/gatehoused.*
    systemd-analyze security --no-pager --threshold=20 gatehoused.service >/srv/score || { tail -1 /srv/score; exit 1; }
    tail -1 /srv/score'
  check "the sandbox lets the daemon give its sockets to the groups" 'drop_in "ExecStartPre=/bin/sh -ec \"cd /run/gatehouse; touch o v; chgrp gatehouse-operators o; chgrp gatehouse-viewers v; chmod 660 o v; if chgrp root o || touch /etc/x; then exit 1; fi\""
    systemctl restart gatehoused; test "$(stat -c %G:%a /run/gatehouse/o /run/gatehouse/v | tr "\n" " ")" = "gatehouse-operators:660 gatehouse-viewers:660 "
    no_drop_in; systemctl restart gatehoused; alive'
  check "operators run, viewers look, others get no answer" 'useradd -M -G gatehouse-operators oli; useradd -M -G gatehouse-viewers vic; useradd -M eve
    test "$(stat -c %G:%a /run/gatehouse/operate.sock /run/gatehouse/view.sock | tr "\n" " ")" = "gatehouse-operators:660 gatehouse-viewers:660 "
    digest=$(runuser -u vic -- gatehouse plan backup_now --json | sed "s/.*\"digest\": *\"\([^\"]*\).*/\1/" | grep -m1 "^[0-9a-f]*$")
    code=0; runuser -u vic -- gatehouse run backup_now --plan $digest --reason x || code=$?; test $code = 77
    runuser -u oli -- gatehouse run backup_now --plan $digest --reason x --follow; ls /var/lib/gatehouse/backups | grep backup-
    runuser -u oli -- gatehouse audit backup_now | grep "oli (uid"
    code=0; runuser -u eve -- gatehouse status || code=$?; test $code = 77 || test $code = 69
    userdel oli; userdel vic; userdel eve'
}

living() {
  check "an API of its own" "systemd-run -q --unit=slow $client upstream 9000 3"'
    token=$(cat /srv/token)
    call POST /platform/api "$token" "{\"api_name\":\"slow\",\"api_version\":\"v1\",\"api_description\":\"slow\",\"api_allowed_roles\":[],\"api_allowed_groups\":[\"ALL\"],\"api_servers\":[\"http://127.0.0.1:9000\"],\"api_type\":\"REST\"}" | grep "^20"
    call POST /platform/endpoint "$token" "{\"api_name\":\"slow\",\"api_version\":\"v1\",\"endpoint_method\":\"GET\",\"endpoint_uri\":\"/x\",\"endpoint_description\":\"x\"}" | grep "^20"
    call POST /platform/subscription/subscribe "$token" "{\"username\":\"admin\",\"api_name\":\"slow\",\"api_version\":\"v1\"}" | grep "^20"
    call GET /api/rest/slow/v1/x "$token" | grep "^200.*slow"'
  check "SIGTERM lets the request in flight end" 'call GET /api/rest/slow/v1/x "$(cat /srv/token)" >/srv/slow & sleep 1
    before=$(pid); systemctl kill --kill-whom=main -s TERM gatehoused; wait; grep "^200.*slow" /srv/slow
    until_true "journalctl _PID=$before -o cat | grep \"ended.*cut=0\""; systemctl start gatehoused; alive'
  check "reload reads the settings, with the same process" 'before=$(pid); echo "log_level = \"debug\"" >>/etc/gatehouse/gatehouse.toml; systemctl reload gatehoused
    until_true "journalctl -o cat _PID=$before | grep -q \"settings reloaded.*debug\""; test $before = $(pid); systemctl is-active gatehoused
    sed -i "/^log_level/d" /etc/gatehouse/gatehouse.toml; systemctl reload gatehoused; alive'
  check "restart refuses nobody:" 'under_load sh -c "for i in 1 2 3; do systemctl restart gatehoused; sleep 0.5; done"'
  check "and cuts nobody" 'cat /srv/load; grep " 0 cut" /srv/load'
  check "SIGUSR2 hands over: nobody waits for a slow request, which ends whole:" 'drop_in "WatchdogSec=3
TimeoutStopSec=2"; systemctl restart gatehoused; before=$(pid)
    call GET /api/rest/slow/v1/x "$(cat /srv/token)" >/srv/slow & slow=$!; sleep 0.5
    under_load sh -c "systemctl kill --kill-whom=main -s USR2 gatehoused; sleep 1; kill -0 $slow"; grep "longest 0\." /srv/load; grep " 0 cut" /srv/load
    test $before != $(pid); echo $before >/srv/before-pid; wait; grep "^200.*slow" /srv/slow'
  check "systemd takes the new process as its own, and goes on watching it" 'main=$(pid); sleep 5; test $main = $(pid)
    systemctl is-active gatehoused; test "$(systemctl show -P NRestarts gatehoused)" = 0; test "$(cut -d" " -f4 /proc/$main/stat)" = 1
    test ! -d /proc/$(cat /srv/before-pid); journalctl -o cat _PID=$(cat /srv/before-pid) | grep "handed over"
    journalctl -o cat _PID=1 >/srv/manager; not grep -iE "not our child|reception only permitted|watchdog timeout|refusing" /srv/manager'
  check "a new process that is killed is replaced at once, whatever the old one still does" 'call GET /api/rest/slow/v1/x "$(cat /srv/token)" >/srv/slow & sleep 0.5
    before=$(pid); systemctl kill --kill-whom=main -s USR2 gatehoused; until_true "test $before != \$(pid)"
    systemctl kill --kill-whom=main -s KILL gatehoused; alive; systemctl is-active gatehoused; wait; no_drop_in; systemctl restart gatehoused'
  check "a program that does not start leaves the old one serving" 'before=$(pid); mv /usr/bin/gatehoused /srv/good; printf "#!/bin/sh\nexit 3\n" >/usr/bin/gatehoused; chmod 755 /usr/bin/gatehoused
    systemctl kill --kill-whom=main -s USR2 gatehoused; until_true "journalctl _PID=$before -o cat | grep -q \"restart failed.*exit status: 3\""
    alive; test $before = $(pid); gatehouse health | grep RESTART-FAILED; mv /srv/good /usr/bin/gatehoused
    systemctl kill --kill-whom=main -s USR2 gatehoused; until_true "test $before != \$(pid)"; alive; until_true "gatehouse health | not grep RESTART-FAILED"'
  check "a killed daemon comes back, the socket stays:" 'before=$(pid); systemctl kill --kill-whom=main -s KILL gatehoused; alive
    test $before != $(pid); systemctl is-active gatehoused.socket'
  check "the watchdog ends a hung daemon, another takes over" 'test "$(systemctl show -P WatchdogUSec gatehoused)" = 30s
    drop_in WatchdogSec=2; systemctl restart gatehoused; before=$(pid); systemctl kill --kill-whom=main -s STOP gatehoused
    until_true "test \"\$(pid)\" != $before && test \"\$(pid)\" != 0"; until_true "systemctl is-active gatehoused"; alive
    journalctl -u gatehoused | grep -i "watchdog timeout"; no_drop_in; systemctl restart gatehoused'
  check "a wrong setting: 78, no second try, the port is closed; mended, it is back" 'echo "listn = \"x\"" >>/etc/gatehouse/gatehouse.toml
    not systemctl restart gatehoused; test "$(systemctl show -P ExecMainStatus gatehoused)" = 78; systemctl is-failed gatehoused; sleep 2
    refused; test "$(systemctl show -P NRestarts gatehoused)" = 0
    sed -i "/^listn/d" /etc/gatehouse/gatehouse.toml; systemctl start gatehoused; systemctl is-active gatehoused.socket; alive'
}

leaving() {
  check "an upgrade refuses nobody and keeps a changed conffile:" 'echo "# mine" >>/etc/gatehouse/gatehouse.toml; before=$(pid)
    socket=$(systemctl show -P ActiveEnterTimestampMonotonic gatehoused.socket)
    under_load dpkg -i --force-confold /srv/new.deb; dpkg-query -W gatehouse | grep next1; test $before != $(pid)
    grep -q mine /etc/gatehouse/gatehouse.toml; test $socket = $(systemctl show -P ActiveEnterTimestampMonotonic gatehoused.socket)'
  check "and cuts nobody" 'cat /srv/load; grep " 0 cut" /srv/load'
  check "data is still there after it" 'call GET /platform/api/slow/v1 "$(cat /srv/token)" | grep "^200"'
  check "remove stops both, keeps data and settings" 'systemctl stop slow; dpkg -r gatehouse; for unit in service socket; do not systemctl is-active gatehoused.$unit; done
    refused; test ! -e /usr/bin/gatehoused; test -d /var/lib/gatehouse/store; test -f /etc/gatehouse/gatehouse.toml'
  check "installed again, it has its data" 'dpkg -i /srv/new.deb; alive; call GET /platform/api/slow/v1 "$(cat /srv/token)" | grep "^200"'
  check "purge leaves nothing: no file, no user, no group" 'dpkg -P gatehouse; listing >/srv/after; diff /srv/before /srv/after; not systemctl cat gatehoused.service'
}

deb=${1:-$(ls target/deb/gatehouse_*.deb 2>/dev/null | head -1)}
[ -f "$deb" ] || { echo "no package; make deb builds it" >&2; exit 1; }
if [ -z "${GATEHOUSE_BOUNDED:-}" ]; then
  GATEHOUSE_BOUNDED=1 exec timeout -k 30 900 "$0" "$deb"
fi
prepare
trap halt EXIT
boot
installing
living
leaving
[ "$failed" = 0 ] || inside journalctl --no-pager -u gatehoused -n 60
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

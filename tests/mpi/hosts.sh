#!/usr/bin/env bash
# hosts.sh HOSTS RATE PROGRAM [ARGUMENT...]: runs an MPI program with one rank on each of several hosts, which are network
# namespaces of this machine with addresses of their own, on a bridge that passes RATE (as tc writes it: 1gbit) to and
# from each. Exits with 77 where namespaces are not permitted, or a tool is missing.
set -euo pipefail

hosts=$1 rate=$2
shift 2
name=relpos$$
folder=$(mktemp -d)

clean_up() {
  local host
  for ((host = 1; host <= hosts; ++host)); do ip netns del "$name-$host" 2>/dev/null || true; done
  ip netns del "$name-bridge" 2>/dev/null || true
  rm -rf "$folder"
}
trap clean_up EXIT

skip() {
  echo "skipped: $*" >&2
  exit 77
}

for tool in ip tc mpirun unshare; do command -v $tool >/dev/null || skip "there is no $tool"; done
ip netns add "$name-bridge" 2>/dev/null || skip "network namespaces are not permitted"
ip -n "$name-bridge" link add bridge type bridge 2>/dev/null || skip "bridges are not permitted"
ip -n "$name-bridge" link set bridge up

limit() { # NAMESPACE DEVICE
  ip netns exec "$1" tc qdisc add dev "$2" root tbf rate "$rate" burst 128kb latency 20ms 2>/dev/null ||
    skip "tc has no token bucket filter"
}
for ((host = 1; host <= hosts; ++host)); do
  ip netns add "$name-$host"
  ip -n "$name-$host" link set lo up
  ip -n "$name-$host" link add eth0 type veth peer name "port$host" netns "$name-bridge"
  ip -n "$name-$host" address add "10.77.0.$host/24" dev eth0
  ip -n "$name-$host" link set eth0 up
  ip -n "$name-bridge" link set "port$host" master bridge up
  limit "$name-$host" eth0
  limit "$name-bridge" "port$host"
  echo "10.77.0.$host slots=1" >>"$folder/hosts"
done

# Instead of ssh: runs a command on the host of an address, which has a name of its own too.
cat >"$folder/on_host" <<END
#!/usr/bin/env bash
host=\${1##*.}
shift
exec ip netns exec $name-\$host unshare --uts bash -c "hostname host\$host; \$*"
END
chmod +x "$folder/on_host"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
ip netns exec "$name-1" unshare --uts bash -c 'hostname host1; exec "$@"' - \
  mpirun --mca plm_rsh_agent "$folder/on_host" --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 \
  --mca oob_tcp_if_include 10.77.0.0/24 --mca mpi_yield_when_idle 1 --bind-to none --hostfile "$folder/hosts" "$@"

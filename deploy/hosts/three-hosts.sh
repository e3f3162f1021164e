#!/usr/bin/env bash
# The walkthrough of README.md on one Linux machine: a network namespace for each host, Hackney's closed to whatever comes in.
# Needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN) and `ip`. LODA, NODE, DOCTOR and COORDINATOR name the programs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${LODA:=loda}" "${NODE:=loda-node}" "${DOCTOR:=loda-node doctor}" "${COORDINATOR:=loda-coordinator}"
work=${1:?usage: three-hosts.sh FOLDER}
tag=${2:-loda}
mkdir -p "$work"/{office,camden,hackney,analyst}
step() { printf '\n== %s\n' "$1"; }
on() { local host=$1; shift; (cd "$work/$host" && ip netns exec "$tag-$host" "$@"); }

started=()
clean() {
  for pid in "${started[@]:-}"; do [ -z "$pid" ] || kill -- "-$pid" 2>/dev/null || true; done
  for host in office camden hackney net; do ip netns del "$tag-$host" 2>/dev/null || true; done
}
trap clean EXIT

step "three hosts on one network"
ip netns add "$tag-net"
ip -n "$tag-net" link add br0 type bridge
ip -n "$tag-net" link set br0 up
number=1
for host in office camden hackney; do
  ip netns add "$tag-$host"
  ip link add "v$number-$tag" type veth peer name "w$number-$tag"
  ip link set "v$number-$tag" netns "$tag-$host" name eth0
  ip link set "w$number-$tag" netns "$tag-net"
  ip -n "$tag-net" link set "w$number-$tag" master br0 up
  ip -n "$tag-$host" addr add "10.77.0.$number/24" dev eth0
  ip -n "$tag-$host" link set eth0 up
  ip -n "$tag-$host" link set lo up
  number=$((number + 1))
done
# Hackney's firewall: nothing comes in to a port that anybody could listen on. Replies go to higher ports.
ip -n "$tag-hackney" rule add pref 100 lookup local
ip -n "$tag-hackney" rule del pref 0
ip -n "$tag-hackney" rule add pref 10 iif eth0 ipproto tcp dport 1-32767 blackhole
ip -n "$tag-hackney" rule add pref 11 iif eth0 ipproto udp blackhole

step "1. authorities and certificates"
on office $LODA pki init office-ca --domain london.example
on office $LODA pki issue office-ca coordinator --out .
on office $LODA pki init people-ca --domain london.example
on office $LODA pki issue people-ca analyst j.okafor --out ../analyst
on camden $LODA pki init camden-ca --domain london.example
on camden $LODA pki issue camden-ca node E09000007 --out .
on hackney $LODA pki init hackney-ca --domain london.example
on hackney $LODA pki issue hackney-ca node E09000012 --out .

step "2. a draft, and invitations"
for host in office camden hackney; do
  mkdir -p "$work/$host/contracts" && cp "$here/../contracts/food_businesses.toml" "$work/$host/contracts/"
done
on office $LODA federation found "London" --domain london.example --coordinator 10.77.0.1:7443 \
  --ca office-ca/ca.pem --people people-ca/ca.pem --log-key state/log.key \
  --contract contracts/food_businesses.toml --out draft.toml
on office $LODA federation invite draft.toml E09000007 Camden --out ../camden/invite.toml
on office $LODA federation invite draft.toml E09000012 Hackney --out ../hackney/invite.toml

step "3. the boroughs ask to join"
on camden $LODA federation join invite.toml --address 10.77.0.2:7443 --ca camden-ca/ca.pem --log-key state/log.key \
  --out ../office/request-camden.toml
on hackney $LODA federation join invite.toml --address dial-out --ca hackney-ca/ca.pem --log-key state/log.key \
  --out ../office/request-hackney.toml

step "4. the first manifest"
on office $LODA federation add draft.toml request-camden.toml request-hackney.toml --out manifest.toml
for host in camden hackney analyst; do cp "$work/office/manifest.toml" "$work/$host/"; done
on office $LODA federation show manifest.toml

step "5. revocation lists"
for host in office camden hackney analyst; do
  mkdir -p "$work/$host/revocation"
  for ca in office/office-ca office/people-ca camden/camden-ca hackney/hackney-ca; do
    cp "$work/$ca/crl.pem" "$work/$host/revocation/$(basename "$ca").pem"
  done
done

step "6. configure, check, start"
cp "$here/coordinator.toml" "$work/office/coordinator.toml"
for host in office camden hackney; do echo "# nobody" > "$work/$host/denied.txt"; done
for host in camden hackney; do
  cp "$here/$host.toml" "$work/$host/node.toml"
  cp "$here/agreement.toml" "$work/$host/"
  mkdir -p "$work/$host/extracts"
  {
    echo 'FHRSID,BusinessName,BusinessType,RatingValue,RatingDate,ScoreHygiene,ScoreStructural,NewRatingPending,PostCode'
    for n in $(seq 1 "$([ $host = camden ] && echo 40 || echo 60)"); do
      code=$([ $host = camden ] && echo 1 || echo 2)
      echo "$code$n,Business $n,Takeaway/sandwich shop,$((n % 6)),2025-06-01,$((n % 4 * 5)),5,False,"
    done
  } > "$work/$host/extracts/food_hygiene.csv"
done
cat > "$work/analyst/loda.toml" <<'END'
manifest = "manifest.toml"
cert = "j.okafor.pem"
key = "j.okafor.key"
revocation_lists = "revocation"
END
# A program ends when its input does, so that nothing outlives this script.
start() {
  local host=$1; shift
  (cd "$work/$host" && exec setsid sh -c "tail -f /dev/null | ip netns exec $tag-$host $* > program.log 2>&1") &
  started+=($!)
}
start office $COORDINATOR --config coordinator.toml
sleep 1
on hackney $DOCTOR --config node.toml
on camden $DOCTOR --config node.toml
start camden $NODE --config node.toml
start hackney $NODE --config node.toml
ask() { (cd "$work/analyst" && ip netns exec "$tag-office" $LODA "$@" --config loda.toml); }
for try in $(seq 1 60); do
  # Both can be reached: the word stands in the table for each that cannot.
  if ask nodes > "$work/nodes.txt" 2>&1 && ! grep -q "cannot be reached" "$work/nodes.txt"; then break; fi
  [ "$try" -lt 60 ] || { cat "$work/nodes.txt" "$work"/*/program.log; echo "the nodes did not come up"; exit 1; }
  sleep 0.5
done
cat "$work/nodes.txt"

step "7. ask"
question="SELECT borough, COUNT(*) AS businesses FROM food_businesses GROUP BY borough ORDER BY borough"
ask query --purpose food-safety --format csv "$question" | tee "$work/answer.csv"
grep -q '^E09000007,40' "$work/answer.csv" && grep -q '^E09000012,60' "$work/answer.csv"

step "watch it: the local port of the office"
look() { ip netns exec "$tag-office" bash -c "exec 3<>/dev/tcp/127.0.0.1/7480; printf 'GET $1 HTTP/1.0\r\n\r\n' >&3; cat <&3"; }
look /readyz | grep -q '^ready'
look /metrics | tee "$work/metrics.txt" | grep '^loda_'
grep -q 'loda_questions_total{outcome="answered"} 1' "$work/metrics.txt"
if ip netns exec "$tag-camden" timeout 2 bash -c '</dev/tcp/10.77.0.1/7480' 2>/dev/null; then
  echo "the local port is open to others"; exit 1
fi

step "Hackney lets nothing in"
if ip netns exec "$tag-office" timeout 2 bash -c '</dev/tcp/10.77.0.3/7443' 2>/dev/null; then
  echo "Hackney could be reached from outside"; exit 1
fi
echo "closed, and it answered all the same"

step "Later: a renewed certificate is taken up, a revoked analyst is out"
on camden $LODA pki issue camden-ca node E09000007 --out . --replace
sleep 3
ask query --purpose food-safety --format csv "$question" > /dev/null
on office $LODA pki revoke people-ca spiffe://london.example/analyst/j.okafor
cp "$work/office/people-ca/crl.pem" "$work/office/revocation/people-ca.pem"
sleep 3
if ask query --purpose food-safety --format csv "$question" > /dev/null 2>&1; then
  echo "the revoked analyst still gets answers"; exit 1
fi
echo "refused, as it should be"
step "done"

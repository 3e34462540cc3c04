#!/usr/bin/env bash
# The tour: a real server on the embedded store, in a temporary folder, used by an
# admin, a deployer and a stranger. Run it with `make demo`.
set -euo pipefail

cd "$(dirname "$0")/../.."
heroctl=${HEROCTL_BIN:-$PWD/bin/heroctl}
folder=$(mktemp -d)
server=
unset HEROCTL_ADDR HEROCTL_TOKEN HEROCTL_TOKEN_FILE HEROCTL_CACERT HEROCTL_FORMAT HEROCTL_CONTEXT
export NO_COLOR=1 XDG_CONFIG_HOME=$folder/config
port=$((20000 + RANDOM % 20000))
export HEROCTL_ADDR=http://127.0.0.1:$port

cleanup() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap cleanup EXIT

title() { printf '\n== %s\n' "$*"; }
say() { printf '   %s\n' "$*"; }
# run shows a command as one would type it, then runs it.
run() { printf '$ heroctl %s\n' "$*"; "$heroctl" "$@" 2>&1 | sed -e 's/^/  /' -e '$a\'; return "${PIPESTATUS[0]}"; }
# refused runs a command that must fail with the given exit code.
refused() {
  local want=$1 got=0
  shift
  run "$@" || got=$?
  if [ "$got" != "$want" ]; then say "expected exit code $want, got $got"; exit 1; fi
  say "(exit code $got, as it should be)"
}
as() { HEROCTL_TOKEN=$(cat "$folder/$1.token"); export HEROCTL_TOKEN; }

start() {
  "$heroctl" server --config "$folder/server.yaml" 2>>"$folder/server.log" &
  server=$!
  for _ in $(seq 100); do
    if curl -sf "$HEROCTL_ADDR/v1/health/ready" >/dev/null 2>&1; then return; fi
    kill -0 "$server" 2>/dev/null || { cat "$folder/server.log"; exit 1; }
    sleep 0.1
  done
  cat "$folder/server.log"
  exit 1
}
stop() { kill "$server"; wait "$server"; server=; }

title "A new cluster: data directory, root key apart from it, one admin token"
cat >"$folder/server.yaml" <<EOF
node: demo
data_dir: data
key_file: key/root.key
listen: 127.0.0.1:$port
grpc_listen: "off"
EOF
printf '$ heroctl cluster init --config server.yaml\n'
"$heroctl" cluster init --config "$folder/server.yaml" >"$folder/admin.token" 2>"$folder/init.log"
sed "s#$folder/##g; s/^/  /" "$folder/init.log"
start

title "Policies, roles and tokens"
as admin
run policy apply examples/policies
run acl role create deploy-prod --policy deploy-prod-secrets
run acl user create ana
run acl user create stranger
"$heroctl" acl token create --user ana --role deploy-prod -o json 2>/dev/null | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' >"$folder/ana.token"
"$heroctl" acl token create --user stranger -o json 2>/dev/null | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' >"$folder/stranger.token"
test -s "$folder/ana.token" && test -s "$folder/stranger.token"
say "ana has the role deploy-prod; stranger has nothing"

title "Creating secrets: literal, file, stdin"
run secret create db_password --from-literal="s3nh4-l0nga-e-aleatoria"
printf 'demo private key\n' >"$folder/privkey.pem"
printf '$ heroctl secret create tls_key --from-file=./privkey.pem\n'
(cd "$folder" && "$heroctl" secret create tls_key --from-file=./privkey.pem 2>&1 | sed 's/^/  /')
printf '$ echo -n "valor-secreto" | heroctl secret create api_token --from-stdin\n'
echo -n "valor-secreto" | "$heroctl" secret create api_token --from-stdin 2>&1 | sed 's/^/  /'
run secret create prod/db_password --generate
run secret create prod/admin/root --generate

title "Listing and inspecting, as the admin"
run secret list
run secret describe db_password
run secret get db_password

title "As the deployer: reads prod, not prod/admin, and does not even see it"
as ana
run whoami
run secret list
run secret get prod/db_password
refused 5 secret get prod/admin/root

title "As a stranger: nothing, and nothing is listed"
as stranger
run secret list
refused 5 secret get db_password
say "a name that does not exist looks the same:"
refused 5 secret get no_such_secret

title "Versions: update, history, rollback"
as admin
run secret update db_password --from-literal="senha-nova"
run secret update db_password --from-literal="senha-mais-nova"
run secret history db_password
run secret rollback db_password --to-version 1
run secret history db_password
test "$("$heroctl" secret get db_password)" = "s3nh4-l0nga-e-aleatoria"

title "The trail: who did what, when, from where"
run audit secret --name db_password --since 30d
"$heroctl" audit secret --since 30d --format json >"$folder/audit.jsonl"
say "audit.jsonl: $(wc -l <"$folder/audit.jsonl") records as JSON lines"
denied=$(grep '"prod/admin/root"' "$folder/audit.jsonl" | grep '"denied"' | sed -n 's/.*"decision_id": *"\([^"]*\)".*/\1/p' | head -n 1)
run why "$denied"

title "Everything persists: the server stops and starts again"
stop
start
run secret history db_password
test "$("$heroctl" secret get db_password)" = "s3nh4-l0nga-e-aleatoria"
as ana
run secret list
stop

title "A stolen data directory shows nothing"
if grep -rlaE 's3nh4|senha-nova|valor-secreto|db_password|tls_key|api_token|deploy-prod|stranger' "$folder/data"; then
  say "readable traces found in the files above"
  exit 1
fi
say "searched $(find "$folder/data" -type f | wc -l) files of the data directory: no value, no name, no user, no policy"

title "Done"

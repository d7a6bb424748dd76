#!/bin/bash
# Makes what the containers of ../compose.yaml have to know and nobody else may: passwords, keys, certificates, and the
# join file of the execution environments. Each file belongs to the user that reads it in its container, since sengu
# refuses secrets that others can read. What is there already is never changed: delete the folder to begin anew.
#
# Usage, as root: secrets.sh [NAME...]     names or addresses by which clients reach the API, beside localhost
set -euo pipefail
umask 077
cd "$(dirname "$0")"

# Users in the images.
readonly sengu=10001 rabbitmq=999 mosquitto=1883 postgres=999
readonly days=3650
readonly out=secrets

if [[ $EUID -ne 0 ]]; then
    echo "run it as root: each file gets the user that may read it" >&2
    exit 1
fi
if [[ -e $out ]]; then
    echo "$PWD/$out is there already; delete it to begin anew (Secrets that were sealed are lost with seal.key)" >&2
    exit 1
fi

work=$(mktemp -d "$PWD/.secrets.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work"/{ca,rabbitmq,mosquitto,postgres,logic,execution,follower}

random() { openssl rand -hex 32; }

authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$days" \
        -subj "/CN=sengu compose authority" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout "$work/ca/ca.key" -out "$work/ca/ca.crt" 2>/dev/null
}

# certificate FOLDER ALTERNATIVE-NAMES
certificate() {
    local folder=$work/$1
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
        -keyout "$folder/tls.key" -out "$folder/tls.csr" 2>/dev/null
    printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
        "extendedKeyUsage=serverAuth" "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid" \
        "subjectAltName=$2" >"$folder/tls.ext"
    openssl x509 -req -in "$folder/tls.csr" -CA "$work/ca/ca.crt" -CAkey "$work/ca/ca.key" -CAcreateserial \
        -days "$days" -extfile "$folder/tls.ext" -out "$folder/tls.crt" 2>/dev/null
    rm "$folder/tls.csr" "$folder/tls.ext"
}

# hash_rabbitmq FILE: the form of RabbitMQ, SHA-256 over salt and password, behind the salt.
hash_rabbitmq() {
    openssl rand 4 >"$work/salt"
    cat "$work/salt" "$1" | openssl dgst -sha256 -binary | cat "$work/salt" - | openssl base64 -A
}

# hash_mosquitto USER FILE: the form of Mosquitto, SHA-512 over password and salt.
hash_mosquitto() {
    openssl rand 12 >"$work/salt"
    # The dollars are Mosquitto's.
    # shellcheck disable=SC2016
    printf '%s:$6$%s$%s\n' "$1" "$(openssl base64 -A <"$work/salt")" \
        "$(cat "$2" "$work/salt" | openssl dgst -sha512 -binary | openssl base64 -A)"
}

names="DNS:localhost,DNS:logic,DNS:standby,IP:127.0.0.1"
for name in "$@"; do
    case $name in
        *[!0-9.]*[!0-9a-fA-F:.]* | *[g-zG-Z-]*) names+=",DNS:$name" ;;
        *:* | *.*.*.*) names+=",IP:$name" ;;
        *) names+=",DNS:$name" ;;
    esac
done

authority
certificate rabbitmq DNS:rabbitmq
certificate mosquitto DNS:mosquitto,DNS:localhost,IP:127.0.0.1
certificate postgres DNS:postgres
certificate logic "$names"

# Without a line break: they are hashed as they are.
printf '%s' "$(random)" >"$work/logic/rabbitmq_password"
printf '%s' "$(random)" >"$work/logic/mosquitto_password"
printf '%s' "$(random)" >"$work/logic/postgres_password"
printf '%s' "$(random)" >"$work/follower/password"
random >"$work/logic/token"
random >"$work/logic/seal.key"
cp "$work/logic/postgres_password" "$work/postgres/password"

cat >"$work/rabbitmq/definitions.json" <<JSON
{
  "vhosts": [{ "name": "sengu" }],
  "users": [
    {
      "name": "sengu",
      "password_hash": "$(hash_rabbitmq "$work/logic/rabbitmq_password")",
      "hashing_algorithm": "rabbit_password_hashing_sha256",
      "tags": []
    }
  ],
  "permissions": [
    {
      "user": "sengu",
      "vhost": "sengu",
      "configure": "^sengu\\\\..*",
      "write": "^(sengu\\\\..*|amq\\\\.default)$",
      "read": "^sengu\\\\..*"
    }
  ]
}
JSON
{
    hash_mosquitto sengu "$work/logic/mosquitto_password"
    hash_mosquitto follower "$work/follower/password"
} >"$work/mosquitto/passwords"

# All that an execution environment needs, so that it shares no volume with logic.
{
    echo 'url = "amqps://sengu@rabbitmq:5671/sengu?prefix=sengu"'
    echo 'results = "mqtts://sengu@mosquitto:8883?prefix=sengu"'
    echo "password = \"$(cat "$work/logic/rabbitmq_password")\""
    echo "results_password = \"$(cat "$work/logic/mosquitto_password")\""
    echo "seal_key = \"$(cat "$work/logic/seal.key")\""
    for key in ca_pem results_ca_pem; do
        printf "%s = '''\n%s\n'''\n" "$key" "$(cat "$work/ca/ca.crt")"
    done
} >"$work/execution/join"

rm "$work/salt"
for folder in rabbitmq mosquitto postgres logic; do cp "$work/ca/ca.crt" "$work/$folder/ca.crt"; done
chown -R "$rabbitmq:$rabbitmq" "$work/rabbitmq"
chown -R "$mosquitto:$mosquitto" "$work/mosquitto"
chown -R "$postgres:$postgres" "$work/postgres"
chown -R "$sengu:$sengu" "$work/logic" "$work/execution"
find "$work" -type d -exec chmod 0700 {} +
find "$work" -type f -exec chmod 0600 {} +
chmod 0644 "$work/ca/ca.crt"
# Those who come here by name find the certificate of the authority; all else is for its owner.
chmod 0711 "$work" "$work/ca"
mv "$work" "$out"
trap - EXIT
echo "made $PWD/$out; keep logic/seal.key and ca/ca.key apart and safe"

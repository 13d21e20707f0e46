#!/bin/sh
# What the tests use beside Python: Java 17+ and Maven (Apache Kafka), chromium (browser tests).
# Installs what is missing where that is possible (Debian, Ubuntu, as root); otherwise says what to do. Never fails:
# without these tools the tests use the embedded broker and say so, and the browser tests are skipped.
set -u

missing=""
command -v java >/dev/null 2>&1 || missing="$missing openjdk-17-jre-headless"
command -v mvn >/dev/null 2>&1 || missing="$missing maven"
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
    command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing$missing ..."
    # A release without OpenJDK 17 has a later one behind default-jre-headless.
    # shellcheck disable=SC2086
    if apt-get update -qq >/dev/null 2>&1 &&
        { DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 ||
            DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
                $(echo "$missing" | sed 's/openjdk-17-jre-headless/default-jre-headless/') >/dev/null 2>&1; }; then
        exit 0
    fi
    echo "apt-get could not install:$missing" >&2
fi
echo "Not installed:$missing. The tests run without; for the full set: apt install$missing" >&2
exit 0

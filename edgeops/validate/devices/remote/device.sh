# What edgeops does on a device, for any POSIX sh:  sh SCRIPT VERB HOME ID [ARGUMENT...]
# It answers in lines that begin with "=", so that what a login shell says is no answer.
set -u
umask 077
verb=$1 home=$2 id=$3
shift 3
# Short for the folder that it is run in.
[ "$home" = . ] && home=$(pwd -P)
blobs=$home/blobs/sha256 parts=$home/parts work=$home/work/$id

sum() {
  if command -v sha256sum >/dev/null 2>&1; then set -- "$(sha256sum <"$1")"
  elif command -v shasum >/dev/null 2>&1; then set -- "$(shasum -a 256 <"$1")"
  elif command -v python3 >/dev/null 2>&1; then
    set -- "$(python3 -c 'import hashlib, sys
print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())' <"$1")"
  else
    echo "=nosum"
    exit 3
  fi
  echo "${1%% *}"
}

size() {
  set -- "$(wc -c <"$1")"
  echo $(($1))
}

free() {
  # File system, size, used, available in kB.
  set -- $(df -Pk "$home" 2>/dev/null | tail -n 1)
  echo "=free ${4:-}"
}

# End what still runs in a work folder: its working directory tells.
ended() {
  ls -l /proc/[0-9]*/cwd 2>/dev/null | while read -r line; do
    case $line in
      *"/cwd -> $1/"*)
        line=${line%%/cwd -> *}
        kill -9 "${line##*/proc/}" 2>/dev/null
        ;;
    esac
  done
}

# Remove a work folder; what came over of a file is kept for the next that sends it.
removed() {
  ended "$1"
  for part in "$1"/parts/*; do
    [ -f "$part" ] && mv -f "$part" "$parts/"
  done
  rm -rf "$1"
}

# Say what is missing of the files listed in the work folder, and move in what is complete.
missing() {
  while IFS='|' read -r sha bytes mode path; do
    blob=$blobs/$sha part=$work/parts/$sha have=0
    if [ -f "$blob" ]; then
      [ "$(size "$blob")" = "$bytes" ] && [ "$(sum "$blob")" = "$sha" ] && continue
      rm -f "$blob"
    fi
    [ -f "$part" ] || mv "$parts/$sha" "$part" 2>/dev/null
    [ "$bytes" = 0 ] && : >"$part"
    [ -f "$part" ] && have=$(size "$part")
    if [ "$have" = "$bytes" ] && [ -f "$part" ]; then
      if [ "$(sum "$part")" = "$sha" ]; then
        chmod 400 "$part" && mv -f "$part" "$blob" && continue
      fi
      echo "=damaged $sha"
    fi
    if [ "$have" -ge "$bytes" ]; then
      rm -f "$part"
      have=0
    fi
    echo "=need $sha $have"
  done <"$work/list"
}

# Lay the listed files out: links where the file system has them.
laid() {
  rm -rf "$1"
  [ "$2" = folder ] && mkdir -p "$1"
  while IFS='|' read -r sha bytes mode path; do
    to=$1${path:+/$path} blob=$blobs/$sha
    mkdir -p "${to%/*}" || return 1
    touch "$blob"
    [ "$mode" = x ] && chmod 500 "$blob"
    ln "$blob" "$to" 2>/dev/null || cp -p "$blob" "$to" || return 1
  done <"$work/list"
  echo "=done"
}

case $verb in
  reach)
    mkdir -p "$home" && home=$(cd "$home" && pwd -P) || exit 1
    mkdir -p "$home/blobs/sha256" "$home/parts" "$home/work/$id/files" "$home/work/$id/parts" || exit 1
    touch "$0"
    # What nobody asked for in a month goes.
    find "$home/blobs" "$home/parts" "$home"/do-* -type f -mtime +30 -exec rm -f {} \; 2>/dev/null
    echo "=home $home"
    for each in "$home"/work/*; do
      [ "$each" = "$home/work/$id" ] || echo "=work ${each##*/}"
    done
    find "$home"/work/* -prune -type d -mmin +1440 2>/dev/null | while read -r each; do
      echo "=old ${each##*/}"
    done
    ;;
  push)
    mkdir -p "$work/files" "$work/parts" && touch "$work" && cat >"$work/list" || exit 1
    need=$(missing)
    case $need in
      *"=nosum"*) echo "=nosum" ;;
      *"=need "*)
        echo "$need"
        free
        ;;
      *) laid "$work/files/$1" "$2" ;;
    esac
    ;;
  list)
    at=$work/files/$1
    if [ -f "$at" ]; then
      echo "=file $(sum "$at") $(size "$at") ."
    elif [ -d "$at" ]; then
      echo "=folder"
      cd "$at" && find . -type f | while read -r path; do
        echo "=file $(sum "$path") $(size "$path") $path"
      done
    fi
    ;;
  leave)
    for each in "$id" "$@"; do
      removed "$home/work/$each"
    done
    ;;
  sweep)
    for each in "$@"; do
      removed "$home/work/$each"
    done
    ;;
esac

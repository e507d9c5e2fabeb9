#!/bin/sh
# Prints an ACL file as Redis reads it, which knows no comments, with the hash of the password in it.
#
#   users.sh <file> <password>
set -eu
hash=$(printf %s "$2" | sha256sum | cut -d ' ' -f 1)
sed -e '/^#/d' -e '/^$/d' -e "s/@PASSWORD@/#$hash/" "$1" | sed -e ':a' -e '/\\$/N; s/ *\\\n */ /; ta'

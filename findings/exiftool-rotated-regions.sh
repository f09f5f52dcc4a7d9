#!/usr/bin/env bash
# ExifTool 12.57 (Debian 12, libimage-exiftool-perl 12.57+dfsg-1, read 2026-11-30): its own rotate_regions.config, with which
# programs turn face regions together with a photo, turns the regions and leaves AppliedToDimensions as it was. The dimensions
# then do not tell whether the regions are about the stored or about the upright photo: a program that decides by comparing
# them with the photo's size puts every name on the wrong place, without any error.
#
#   bash findings/exiftool-rotated-regions.sh
#
# Gets the pinned Debian package into a temporary folder, writes a region at the left edge of a 200x100 photo into a sidecar,
# and turns it. Needs apt and perl. Ends with 0 while this is so, with 1 when it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq libimage-exiftool-perl=12.57+dfsg-1
dpkg -x libimage-exiftool-perl_*.deb package
config=package/usr/share/doc/libimage-exiftool-perl/config_files/rotate_regions.config
gunzip -f "$config.gz"
exiftool() { PERL5LIB="$work/package/usr/share/perl5" perl package/usr/bin/exiftool -config "$config" "$@"; }
exiftool -q -RegionInfo='{AppliedToDimensions={W=200,H=100,Unit=pixel},RegionList=[{Area={X=0.1,Y=0.3,W=0.2,H=0.4,Unit=normalized},Name=Ada,Type=Face}]}' photo.xmp
exiftool -q -overwrite_original '-RegionInfo<RotateMWGRegionCW90' photo.xmp
found=$(exiftool -s -s -s -n -p '$RegionAreaX $RegionAreaY $RegionAppliedToDimensionsW $RegionAppliedToDimensionsH' photo.xmp)
echo "turned by 90 degrees: centre and dimensions are $found"
[ "$found" = "0.7 0.1 200 100" ]

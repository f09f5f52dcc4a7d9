#!/usr/bin/env bash
# Apache Spark 4.3.0 (pyspark, Java 17, read 2026-11-30): the source binaryFile, which is for photos, leaves out files whose names begin
# with an underscore, without a word and without a count. Nikon and Sony name photos _DSC1234.JPG, and Canon _MG_1234.JPG, when the
# camera is set to Adobe RGB. Of an album with both kinds, those photos are missing: nobody is found on them. Neither pathGlobFilter
# nor naming each file brings them back: Spark takes the underscore for its own files, such as _SUCCESS. A table with the paths, of
# which a function of Python reads the files, has all of them.
#
#   bash findings/spark-skips-camera-names.sh
#
# Installs the pinned package (456 MB) into a temporary folder, and reads a folder of four files. Needs Java 17 or newer and Python
# 3.11 or newer. Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
python3 -m venv "$work/client"
"$work/client/bin/python" -m pip install -q --disable-pip-version-check pyspark==4.3.0
cd "$work"
mkdir album
for name in DSC_0001.JPG _DSC0002.JPG IMG_0003.JPG _MG_0004.JPG; do printf '\xff\xd8\xff a photo' > "album/$name"; done
cat > try.py <<'PY'
import sys
from pathlib import Path

from pyspark.sql import SparkSession

session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()


def read(*paths: str, **options: str) -> list[str]:
    rows = session.read.format("binaryFile").options(**options).load(list(paths)).select("path").collect()
    return sorted(row.path.rsplit("/", 1)[1] for row in rows)


names = sorted(path.name for path in Path("album").iterdir())
found = [read("album"), read("album", recursiveFileLookup="true", pathGlobFilter="*.JPG"), read(*(f"album/{name}" for name in names))]
print("in the folder:", *names)
for how, one in zip(("read as a folder", "with pathGlobFilter=*.JPG", "each by its name"), found):
    print(f"{how}:", *one)
session.stop()
sys.exit(found != [["DSC_0001.JPG", "IMG_0003.JPG"]] * 3)
PY
if SPARK_LOCAL_IP=127.0.0.1 client/bin/python try.py 2> log.txt; then
    as_described "names of cameras that begin with an underscore are left out"
else
    cat log.txt
    changed
fi

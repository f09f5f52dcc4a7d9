"""Jobs: large batches of photos that are worked off in the background."""

# Hug reads the annotations of parameters, so they must not be postponed.
import json

import falcon
import hug

from recognizer.core.errors import InvalidParameter
from recognizer.core.times import iso_time
from recognizer.http.hug_adapter import Router
from recognizer.http.parameters import (
    batch,
    event_id_type,
    fraction,
    job_operation_type,
    landmarks_type,
    number,
    results_format_type,
    switch,
    text,
    top_k_type,
)
from recognizer.http.site import Site
from recognizer.jobs.job_model import PHOTO_DONE, JobPhoto

NDJSON = "application/x-ndjson"
#: Photos that are read at once for NDJSON.
_PAGE = 200


def add_routes(route: Router, site: Site) -> None:
    """Add these routes to the API."""

    @route.post("/jobs")
    def add_job(
        request,
        response,
        operation: job_operation_type,
        image_urls: batch = None,
        image_url: text = None,
        prefix: text = None,
        group: text = None,
        subject: text = None,
        face: text = None,
        force: switch = None,
        top_k: top_k_type = None,
        min_face: number = None,
        landmarks: landmarks_type = None,
        threshold: fraction = None,
        attributes: text = None,
    ):
        """Recognise, detect or enrol many photos in the background: of URLs, uploaded, or below a prefix of a bucket."""
        uploaded = request.context.body.photos.get("file", ())
        if len(uploaded) > site.settings.max_photos:
            raise InvalidParameter(f"expected at most {site.settings.max_photos} uploaded photos, got {len(uploaded)}")
        photos = [JobPhoto({"upload": place}, data) for place, data in enumerate(uploaded)]
        photos += [JobPhoto(each["source"], subject=each["subject"]) for each in image_urls or ()]  # type: ignore[attr-defined]
        photos += [JobPhoto({"url": image_url})] if image_url else []
        made = site.service.jobs.add(
            operation,
            photos,
            prefix=prefix,
            group=group,
            options={
                "subject": subject,
                "face": face,
                "force": force,
                "top_k": top_k,
                "min_face": min_face,
                "landmarks": landmarks,
                "threshold": threshold,
                "attributes": attributes,
            },
        )
        response.status = falcon.HTTP_202
        return shown(made)

    @route.get("/jobs")
    def list_jobs(
        offset: hug.types.in_range(0, 1_000_000_000) = 0,
        limit: hug.types.in_range(1, 1001) = 100,
    ):
        """The jobs, newest first."""
        found = site.service.jobs.all()
        return {"total": len(found), "jobs": [shown(each) for each in found[offset : offset + limit]]}

    @route.get("/jobs/{job}")
    def get_job(job: text):
        """State, progress and counts of a job."""
        return shown(site.service.jobs.get(job))

    @route.get("/jobs/{job}/result")
    def get_job_result(
        request,
        response,
        job: text,
        after: event_id_type = None,
        limit: hug.types.in_range(1, 1001) = None,
        format: results_format_type = None,
    ):
        """What became of each photo so far, by number: a page as JSON, or everything as NDJSON, a line for each photo."""
        held = site.service.jobs.get(job)
        begin = -1 if after is None else after
        accept = request.get_header("Accept") or ""
        if format == "ndjson" or (format is None and NDJSON in accept):
            response.content_type = NDJSON
            return Lines(site, held.id, begin, limit)
        wanted = limit or 100
        found = site.service.jobs.results(held.id, begin, wanted + 1)
        page = found[:wanted]
        return {
            "job": held.id,
            "state": held.state,
            "photos": [shown_photo(each) for each in page],
            "after": page[-1].place if len(found) > wanted else None,
        }

    @route.delete("/jobs/{job}")
    def delete_job(job: text):
        """Cancel a job, and delete it with its photos and results."""
        site.service.jobs.remove(job)
        return {"deleted": job}


def shown(job) -> dict:
    """A job as it is reported."""
    processed = job.done + job.failed
    return {
        "id": job.id,
        "operation": job.operation,
        "group": job.group,
        "prefix": job.prefix,
        "state": job.state,
        "photos": job.photos,
        "done": job.done,
        "failed": job.failed,
        "waiting": job.photos - processed,
        "progress": round(processed / job.photos, 4) if job.photos else float(job.ended is not None),
        "made": iso_time(job.made),
        "begun": None if job.begun is None else iso_time(job.begun),
        "ended": None if job.ended is None else iso_time(job.ended),
        "error": job.error,
        "result": f"/jobs/{job.id}/result",
    }


def shown_photo(each) -> dict:
    """What became of a photo."""
    name = "result" if each.state == PHOTO_DONE else "error"
    return {"number": each.place, "source": each.source, "state": each.state, name: each.content}


class Lines:
    """All results of a job, or so many, a line for each photo: a file that is read while it is sent."""

    def __init__(self, site: Site, job: str, after: int, most: int | None = None):
        self._site, self._job, self._after, self._most = site, job, after, most

    def read(self, size: int = -1) -> bytes:
        """The next lines, whatever `size` is; nothing at the end."""
        wanted = _PAGE if self._most is None else min(_PAGE, self._most)
        found = self._site.service.jobs.results(self._job, self._after, wanted)
        if found:
            self._after = found[-1].place
        if self._most is not None:
            self._most -= len(found)
        return b"".join(json.dumps(shown_photo(each), ensure_ascii=False).encode() + b"\n" for each in found)

    def close(self) -> None:
        """Nothing is open."""

"""The two answers every page gives: HTML, or somewhere else."""

from werkzeug.wrappers import Response


def html(body: str, status: int = 200) -> Response:
    """A page."""
    return Response(body, status, content_type="text/html; charset=utf-8")


def redirect(location: str, status: int = 303) -> Response:
    """Somewhere else, as it is written: PHP does not make addresses complete."""
    response = Response("", status, content_type="text/html; charset=utf-8")
    response.headers["Location"] = location
    response.autocorrect_location_header = False
    return response

"""A filter before Swift's S3 interface: it wants a Content-MD5 that newer clients leave out.

Swift's own Python loads it (`paste.filter_factory = s3fix:factory`), so it imports nothing of ours.
"""

import base64
import hashlib
import io


def factory(_settings, **_local):
    def add_filter(application):
        def call(environ, start_response):
            if environ["REQUEST_METHOD"] == "POST" and "delete" in environ["QUERY_STRING"]:
                body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                digest = hashlib.md5(body, usedforsecurity=False).digest()
                environ["HTTP_CONTENT_MD5"] = base64.b64encode(digest).decode()
                environ["wsgi.input"] = io.BytesIO(body)
            return application(environ, start_response)

        return call

    return add_filter

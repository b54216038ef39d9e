"""An S3 server for tests: moto's, which is made to do what it lacks, and to fail on demand.

usage: s3server.py serve KEY SECRET BUCKET         prints its port; ends when its standard input ends
       s3server.py dump ENDPOINT BUCKET PREFIX DIRECTORY

Every request must be signed, but those that the bucket's policy allows to everybody: reading objects. Writes on a condition
happen one at a time, as they do elsewhere.

GET /chaos?mode=MODE&every=N makes every Nth request fail from now on:
  busy   503 SlowDown, nothing is done
  cut    the connection breaks before anything is done
  lost   the connection breaks after everything is done
  short  the connection breaks in the middle of the answer
  all    these, one after the other
  stall  it waits for a second before it is done
  none   no request fails
GET /chaos?mode=blind: conditions of writes are ignored; mode=sighted: they are not.
GET /chaos?mode=log: the requests so far.
"""
import hashlib, hmac, io, json, logging, os, socket, sys, threading, time, urllib.parse

unquote = urllib.parse.unquote
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def signature_problem(environ, keys):
    """None if the signature in the URL is right, otherwise the code of an error."""
    path, _, query = environ["RAW_URI"].partition("?")
    pairs = [pair.partition("=")[::2] for pair in query.split("&")]
    given = {name: unquote(value) for name, value in pairs}
    key, date, region, service, _ = given["X-Amz-Credential"].split("/")
    if key not in keys:
        return "InvalidAccessKeyId"
    headers = ""
    names = given["X-Amz-SignedHeaders"]
    for name in names.split(";"):
        variable = name.upper().replace("-", "_")
        value = environ.get("HTTP_" + variable, environ.get(variable, ""))
        headers += f"{name}:{value.strip()}\n"
    canonical = "&".join("=".join(pair) for pair in sorted(pairs) if pair[0] != "X-Amz-Signature")
    request = "\n".join([environ["REQUEST_METHOD"], path, canonical, headers, names, "UNSIGNED-PAYLOAD"])
    scope = f"{date}/{region}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", given["X-Amz-Date"], scope, hashlib.sha256(request.encode()).hexdigest()])
    secret = ("AWS4" + keys[key]).encode()
    for part in (date, region, service, "aws4_request", to_sign):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    return None if secret.hex() == given["X-Amz-Signature"] else "SignatureDoesNotMatch"


class Server:
    def __init__(self, application, keys):
        self.application, self.keys = application, keys
        self.writing, self.counting = threading.Lock(), threading.Lock()
        self.mode, self.every, self.count, self.blind, self.log = "none", 1, 0, False, []

    def chaos(self, query, start_response):
        asked = dict(urllib.parse.parse_qsl(query))
        answer = b"done\n"
        if asked["mode"] == "log":
            answer = "".join(line + "\n" for line in self.log).encode()
        elif asked["mode"] in ("blind", "sighted"):
            self.blind = asked["mode"] == "blind"
        else:
            self.mode, self.every, self.count = asked["mode"], int(asked.get("every", "1")), 0
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    def fault(self):
        with self.counting:
            self.count += 1
            if self.mode == "none" or self.count % self.every:
                return None
            modes = ["busy", "cut", "lost", "short"]
            return self.mode if self.mode != "all" else modes[self.count // self.every % len(modes)]

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/chaos":
            return self.chaos(environ["QUERY_STRING"], start_response)
        self.log.append(environ["REQUEST_METHOD"] + " " + environ["RAW_URI"].split("?")[0])
        # Nothing of a body may stay in the connection.
        length = int(environ.get("CONTENT_LENGTH") or 0)
        fault = self.fault()
        if fault == "cut":
            return self.cut(environ, start_response)
        body = environ["wsgi.input"].read(length) if length else b""
        if len(body) != length:
            return self.cut(environ, start_response)
        environ["wsgi.input"] = io.BytesIO(body)
        if fault == "stall":
            time.sleep(1)
        if fault == "busy":
            return self.error(start_response, "503 Slow Down", BUSY)
        if "X-Amz-Signature=" in environ["QUERY_STRING"]:
            problem = signature_problem(environ, self.keys)
            if problem:
                text = f"<Error><Code>{problem}</Code><Message>No.</Message></Error>".encode()
                return self.error(start_response, "403 Forbidden", b"" if environ["REQUEST_METHOD"] == "HEAD" else text)
            # moto looks for a header.
            environ["HTTP_AUTHORIZATION"] = "AWS4-HMAC-SHA256 Credential=k/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD") and "HTTP_AUTHORIZATION" not in environ:
            return self.error(start_response, "403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")
        status, headers, answer = self.ask(environ)
        if fault == "lost":
            return self.cut(environ, start_response)
        start_response(status, headers)
        if fault == "short" and len(answer) > 1:
            return self.half(environ, answer)
        return [answer]

    def ask(self, environ):
        if self.blind:
            environ.pop("HTTP_IF_NONE_MATCH", None)
            environ.pop("HTTP_IF_MATCH", None)
        begun = {}

        def begin(status, headers, error=None):
            begun["status"], begun["headers"] = status, headers

        with self.writing:
            parts = self.application(environ, begin)
            answer = b"".join(parts)
        return begun["status"], begun["headers"], answer

    def error(self, start_response, status, text):
        start_response(status, [("Content-Length", str(len(text)))])
        return [text]

    def cut(self, environ, start_response):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        start_response("500 Gone", [("Content-Length", "0")])
        return [b""]

    def half(self, environ, answer):
        yield answer[:len(answer) // 2]
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        yield answer[len(answer) // 2:]


def client(endpoint, key="test", secret="test"):
    import boto3
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret)


def serve(key, secret, bucket):
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = key, secret
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    application = Server(DomainDispatcherApplication(create_backend_app), {key: secret})
    server = make_server("127.0.0.1", 0, application, threaded=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    made = client(endpoint)
    made.create_bucket(Bucket=bucket)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"],
                                                      "Resource": f"arn:aws:s3:::{bucket}/*"}]}
    made.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    # From now on a broken connection is no news.
    sys.stderr = open(os.devnull, "w")
    print(server.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)


def dump(endpoint, bucket, prefix, directory):
    source = client(endpoint)
    for page in source.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/"):
        for found in page.get("Contents", []):
            path = os.path.join(directory, found["Key"][len(prefix) + 1:])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            source.download_file(bucket, found["Key"], path)


if __name__ == "__main__":
    {"serve": serve, "dump": dump}[sys.argv[1]](*sys.argv[2:])

"""The key-encryption key is missing, wrong, or replaced."""

import json
from base64 import b64encode
from pathlib import Path

from app.envelope import new_key
from scripts.fault_injection.deployment import Deployment
from scripts.fault_injection.trial import Trial
from scripts.testbed.api import Api, RootCredentials

REFUSING_SECONDS = 60
RECOVERY_SECONDS = 15


def key_missing(trial: Trial) -> None:
    """The key file disappears: what runs goes on, what starts refuses to; with another key too."""
    file = trial.folder / "key-encryption-key"
    key = _write(file, new_key())
    with trial.deployed(_in_file(file)) as deployment, trial.load(deployment.api) as load:
        file.unlink()
        load.wait_for(50)
        refused = load.record.not_served()
        trial.judge("what runs goes on without the file", refused == 0, dict(load.record.answers))
        deployment.server.end()
        _judge_refusal(trial, deployment, str(file), "without the key")
        _write(file, new_key())
        _judge_refusal(trial, deployment, "key-encryption key", "with another key")
        file.write_text(key)
        deployment.server.start()
        trial.recovers(load, RECOVERY_SECONDS)


def key_rotated(trial: Trial) -> None:
    """rotate-kek under the load of a user whose secret is sealed; then the old key is taken away."""
    file = trial.folder / "key-encryption-key"
    old = _write(file, new_key())
    with trial.deployed(_in_file(file)) as deployment:
        user = _user(deployment)
        with trial.load(user) as load:
            load.wait_for(20)
            new = _write(file, new_key())
            file.write_text(f"{new}\n{old}")
            deployment.server.command("rotate-kek")
            file.write_text(new)
            load.wait_for(50)
            refused = load.record.not_served()
            trial.judge("nothing is refused meanwhile", refused == 0, dict(load.record.answers))
            deployment.server.end()
            file.write_text(old)
            _judge_refusal(trial, deployment, "key-encryption key", "with the old key alone")
            file.write_text(new)
            deployment.server.start()
            trial.recovers(load, RECOVERY_SECONDS)


def _in_file(file: Path) -> dict[str, str]:
    return {"KEY_ENCRYPTION_KEY": "", "KEY_ENCRYPTION_KEY_FILE": str(file)}


def _write(file: Path, key: bytes) -> str:
    text = b64encode(key).decode()
    file.write_text(text)
    return text


def _judge_refusal(trial: Trial, deployment: Deployment, said: str, when: str) -> None:
    """With a line that says why, and without serving anybody."""
    deployment.server.spawn()
    code = deployment.server.popen.wait(REFUSING_SECONDS)
    last = deployment.server.last_words[-1]
    trial.judge(f"it does not start {when}, and says why", code != 0 and said in last, last)


def _user(deployment: Deployment) -> Api:
    """Who may do everything."""
    command = deployment.server.command
    command("iam", "user", "create", "fault")
    policy = deployment.folder / "policy.json"
    statement = {"Effect": "Allow", "Action": "s3vectors:*", "Resource": "*"}
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": statement}))
    command("iam", "policy", "put", "fault", "everything", str(policy))
    key = json.loads(command("iam", "key", "create", "fault", "--json"))
    credentials = RootCredentials(key["AccessKeyId"], key["SecretAccessKey"], deployment.credentials.key_encryption_key)
    return Api(deployment.server.port, credentials)

"""`pgs3vectors iam`: accounts, users, access keys and identity policies.

Each change is in force for the next request on every worker.
"""

from cyclopts import App

from app.cli.iam.accounts import account
from app.cli.iam.keys import key, session
from app.cli.iam.policies import policy
from app.cli.iam.users import user

iam = App(name="iam", help="Accounts, users, access keys and identity policies.")
for group in (account, user, key, session, policy):
    iam.command(group)

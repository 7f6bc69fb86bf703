"""One of several processes that use the same proof at once: `python -m … DATABASE_URL PROOF_ID THREADS MOMENT`.

Says `ready`, waits for a line, then claims from many threads and prints how many succeeded.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from external_accounts import audit, proofs
from external_accounts.database import Database
from external_accounts.proofs import ProofUsed


def main(url: str, proof_id: int, threads: int, now: datetime) -> None:
    database = Database(url)

    def use(_number: int) -> bool:
        try:
            with database.begin() as session:
                proofs.claim_by_link(session, proof_id, now=now, origin=audit.SYSTEM)
        except ProofUsed:
            return False
        return True

    with database.read() as session:
        proofs.state_of(session.get_one(proofs.Proof, proof_id), now)  # connected before the start
    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(threads) as pool:
        print(sum(pool.map(use, range(threads))), flush=True)
    database.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), datetime.fromisoformat(sys.argv[4]))

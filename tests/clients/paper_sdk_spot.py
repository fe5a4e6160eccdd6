"""Trade on a paper account through binance-sdk-spot; what came is printed as JSON."""

import json
import sys

from binance_sdk_spot.spot import ConfigurationRestAPI, Spot


def main(address: str, key: str, secret: str) -> None:
    spot = Spot(
        config_rest_api=ConfigurationRestAPI(
            api_key=key, api_secret=secret, base_path=f"http://{address}"
        )
    )
    rest = spot.rest_api
    bought = rest.new_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.002).data()
    resting = rest.new_order(
        symbol="BTCUSDT",
        side="BUY",
        type="LIMIT",
        time_in_force="GTC",
        quantity=0.001,
        price=10_000.0,
    ).data()
    canceled = rest.delete_order(symbol="BTCUSDT", order_id=resting.order_id).data()
    account = rest.get_account(omit_zero_balances=True).data()
    asked = rest.get_order(symbol="BTCUSDT", order_id=bought.order_id).data()
    found = {
        "bought": json.loads(bought.to_json()),
        "canceled": canceled.status,
        "asked": [asked.status, asked.executed_qty, asked.cummulative_quote_qty],
        "balance": [[one.asset, one.free, one.locked] for one in account.balances],
        "trades": [json.loads(t.to_json()) for t in rest.my_trades(symbol="BTCUSDT").data()],
    }
    sys.stdout.write(json.dumps(found))


main(*sys.argv[1:4])

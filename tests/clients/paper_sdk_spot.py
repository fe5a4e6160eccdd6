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
    asked = rest.get_order(symbol="BTCUSDT", order_id=bought.order_id).data()
    spent = rest.new_order(
        symbol="BTCUSDT", side="BUY", type="MARKET", quote_order_qty=100.0
    ).data()
    pair = rest.order_list_oco(
        symbol="BTCUSDT",
        side="SELL",
        quantity=0.001,
        above_type="LIMIT_MAKER",
        above_price=900_000.0,
        below_type="STOP_LOSS",
        below_stop_price=10_000.0,
    ).data()
    again = rest.new_order(
        symbol="BTCUSDT",
        side="BUY",
        type="LIMIT",
        time_in_force="GTC",
        quantity=0.002,
        price=10_000.0,
    ).data()
    replaced = rest.order_cancel_replace(
        symbol="BTCUSDT",
        side="BUY",
        type="LIMIT",
        cancel_replace_mode="STOP_ON_FAILURE",
        time_in_force="GTC",
        quantity=0.002,
        price=11_000.0,
        cancel_order_id=again.order_id,
    ).data()
    amended = rest.order_amend_keep_priority(
        symbol="BTCUSDT", new_qty=0.001, order_id=replaced.new_order_response.order_id
    ).data()
    counts = [[one.interval, one.count] for one in rest.rate_limit_order().data()]
    ended = rest.delete_order_list(symbol="BTCUSDT", order_list_id=pair.order_list_id).data()
    account = rest.get_account(omit_zero_balances=True).data()
    found = {
        "spent": json.loads(spent.to_json()),
        "pair": json.loads(pair.to_json()),
        "replaced": json.loads(replaced.to_json()),
        "amended": json.loads(amended.to_json()),
        "counts": counts,
        "ended": ended.list_order_status,
        "bought": json.loads(bought.to_json()),
        "canceled": canceled.status,
        "asked": [asked.status, asked.executed_qty, asked.cummulative_quote_qty],
        "balance": [[one.asset, one.free, one.locked] for one in account.balances],
        "trades": [json.loads(t.to_json()) for t in rest.my_trades(symbol="BTCUSDT").data()],
    }
    sys.stdout.write(json.dumps(found))


main(*sys.argv[1:4])

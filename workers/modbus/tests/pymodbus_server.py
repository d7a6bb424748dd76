"""A Modbus gateway by pymodbus with two devices behind it. What a device holds is computed by pymodbus's own conversions.

Prints `listening HOST:PORT`, then a line per write that it executes and per connection.
"""

import asyncio
import socket
import sys

from pymodbus.client.mixin import ModbusClientMixin as Convert
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

T = Convert.DATATYPE


def say(*words):
    print(*words, flush=True)


def registers(value, kind, order="big"):
    return Convert.convert_to_registers(value, kind, word_order=order)


def block(address, words):
    return SimData(address, values=words, datatype=DataType.REGISTERS)


def device(unit):
    holding = [
        block(0, registers(-1234, T.INT16)),
        block(1, registers(65000, T.UINT16)),
        block(2, registers(-123456789, T.INT32)),
        block(4, registers(4000000000, T.UINT32)),
        block(6, registers(-1234567890123456, T.INT64)),
        block(10, registers(18000000000000000000, T.UINT64)),
        block(14, registers(230.4, T.FLOAT32)),
        block(16, registers(-0.001953125, T.FLOAT64)),
        block(20, registers("CRAC-07", T.STRING)),
        block(30, registers(-123456789, T.INT32, "little")),
        block(32, registers(230.4, T.FLOAT32, "little")),
        block(34, registers(-0.001953125, T.FLOAT64, "little")),
        block(100, [210, 400]),
        block(110, registers(12000.0, T.FLOAT32)),
    ]
    inputs = [block(0, [10 * unit, 0x8000]), block(200, list(range(125)))]
    coils = [SimData(0, values=[True, False, True] + [False] * 13, datatype=DataType.BITS)]
    discretes = [SimData(0, values=[False, True] * 8, datatype=DataType.BITS)]

    async def action(function, start, address, count, current, values):
        if values is not None:
            say("write", unit, function, address, *[int(v) for v in values])

    return SimDevice(id=unit, simdata=(coils, discretes, holding, inputs), action=action)


async def main():
    identity = ModbusDeviceIdentification(
        info_name={
            "VendorName": "Pymodbus",
            "ProductCode": "PM",
            "MajorMinorRevision": "3.16",
            "ProductName": "Simulator",
            "ModelName": "Sim 1",
        }
    )
    port = int(sys.argv[1])
    if port == 0:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
    server = ModbusTcpServer(
        [device(1), device(2)],
        identity=identity,
        address=("127.0.0.1", port),
        trace_connect=lambda up: say("connect" if up else "disconnect"),
    )
    await server.serve_forever(background=True)
    say("listening", f"127.0.0.1:{port}")
    # Ends with the test.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())

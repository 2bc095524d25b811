using System;
using System.Buffers.Binary;
using XenDM.Core.State;
using XenDM.Devices.Network;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Network;

/// <summary>A board with an 82540EM, driven as Linux's e1000 drives it.</summary>
public abstract class E1000TestBase
{
    protected const ulong Bar = 0xf300_0000;
    protected const ushort Ports = 0xc040;
    protected const int TxRing = 0x1000, RxRing = 0x2000, RxBuffers = 0x4_0000, TxBuffers = 0x2_0000;
    protected const int RingLength = 8;
    protected const uint Icr = 0xc0, Itr = 0xc4, Ics = 0xc8, Ims = 0xd0, Imc = 0xd8, Rctl = 0x100, Tctl = 0x400, Rdh = 0x2810, Rdt = 0x2818, Tdh = 0x3810, Tdt = 0x3818;
    protected const uint RxOn = 0x8002, TxOn = 0x0a, LinkCause = 4, RxCause = 0x80, TxCause = 1;

    protected E1000TestBase() => (Board, Net, Chip) = Make();

    protected TestBoard Board { get; }

    protected FakeNet Net { get; }

    protected E1000 Chip { get; }

    private int _txTail;
    private int _rxHead;

    internal static (TestBoard Board, FakeNet Net, E1000 Chip) Make()
    {
        var board = new TestBoard(2 << 20);
        var net = new FakeNet();
        var chip = new E1000("nic0", Packets.Mac, net, [], board.Ram, board.Clock);
        board.Pci.Add(chip, 4, 0);
        chip.Reset(ResetKind.Cold);
        board.ConfigWrite(4, 0, 0x10, 4, (uint)Bar);
        board.ConfigWrite(4, 0, 0x14, 4, Ports);
        board.ConfigWrite(4, 0, 0x04, 2, 7);
        return (board, net, chip);
    }

    protected bool Irq => Board.Hypervisor.Intx[4 * 4];

    protected uint Read(uint register) => (uint)Board.Memory.Read(Bar + register, 4);

    protected void Write(uint register, uint value) => Board.Memory.Write(Bar + register, 4, value);

    /// <summary>Rings of eight, buffers of 2 KiB, interrupts on.</summary>
    protected void Start(uint rctl = RxOn, uint mask = 0x9d)
    {
        Write(Imc, uint.MaxValue);
        Write(0x3800, TxRing);
        Write(0x3804, 0);
        Write(0x3808, RingLength * 16);
        Write(Tdh, 0);
        Write(Tdt, 0);
        Write(Tctl, TxOn | 0xf0);
        for (var i = 0; i < RingLength; i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(Board.Ram.Bytes[(RxRing + (i * 16))..], (ulong)(RxBuffers + (i * 0x1000)));
            Board.Ram.Bytes.Slice(RxRing + (i * 16) + 8, 8).Clear();
        }

        Write(0x2800, RxRing);
        Write(0x2804, 0);
        Write(0x2808, RingLength * 16);
        Write(Rdh, 0);
        Write(Rdt, RingLength - 1);
        Write(Rctl, rctl);
        Read(Icr);
        Write(Ims, mask);
        _txTail = _rxHead = 0;
    }

    /// <summary>A descriptor of each kind into the ring, without the doorbell.</summary>
    protected void Legacy(ReadOnlySpan<byte> data, byte command, byte cso = 0, byte css = 0, ushort special = 0)
    {
        var descriptor = Buffer(data);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[8..], (uint)data.Length | ((uint)cso << 16) | ((uint)command << 24));
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[12..], ((uint)css << 8) | ((uint)special << 16));
    }

    protected void Data(ReadOnlySpan<byte> data, byte command, byte options, ushort special = 0)
    {
        var descriptor = Buffer(data);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[8..], (uint)data.Length | 0x0010_0000 | ((uint)(command | 0x20) << 24));
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[12..], ((uint)options << 8) | ((uint)special << 16));
    }

    protected void Context(int ipStart, int ipAt, int ipEnd, int tcpStart, int tcpAt, int tcpEnd, byte command = 0, int payload = 0, int header = 0, int segment = 0)
    {
        var descriptor = Next();
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor, (uint)(ipStart | (ipAt << 8) | (ipEnd << 16)));
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[4..], (uint)(tcpStart | (tcpAt << 8) | (tcpEnd << 16)));
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[8..], (uint)payload | ((uint)(command | 0x20) << 24));
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[12..], (uint)((header << 8) | (segment << 16)));
    }

    protected void Doorbell() => Write(Tdt, (uint)_txTail);

    protected byte TxStatus(int index) => Board.Ram.Bytes[TxRing + (index * 16) + 12];

    /// <summary>Brings a frame and takes it out of the ring as the driver does.</summary>
    /// <returns>The bytes in the buffers, and status, errors, checksum and special of the last descriptor; no bytes when nothing came.</returns>
    protected (byte[] Bytes, byte Status, byte Errors, ushort Sum, ushort Special) Bring(byte[] frame, bool isValid = false)
    {
        Net.Bring(frame, isValid);
        return Take();
    }

    protected (byte[] Bytes, byte Status, byte Errors, ushort Sum, ushort Special) Take()
    {
        var all = new byte[20000];
        var length = 0;
        for (var i = 0; i < RingLength; i++)
        {
            var descriptor = Board.Ram.Bytes.Slice(RxRing + (_rxHead * 16), 16);
            if ((descriptor[12] & 1) == 0) return ([], 0, 0, 0, 0);
            var bytes = BinaryPrimitives.ReadUInt16LittleEndian(descriptor[8..]);
            Board.Ram.Bytes.Slice((int)BinaryPrimitives.ReadUInt64LittleEndian(descriptor), bytes).CopyTo(all.AsSpan(length));
            length += bytes;
            var result = (all[..length], descriptor[12], descriptor[13], BinaryPrimitives.ReadUInt16LittleEndian(descriptor[10..]), BinaryPrimitives.ReadUInt16LittleEndian(descriptor[14..]));
            descriptor[8..].Clear();
            _rxHead = (_rxHead + 1) % RingLength;
            Write(Rdt, (uint)((_rxHead + RingLength - 1) % RingLength));
            if ((result.Item2 & 2) != 0) return result;
        }

        throw new InvalidOperationException("a packet without an end");
    }

    /// <summary>Reads a word by the bit-banged pins, in the order of the driver.</summary>
    protected ushort ReadEeprom(int word)
    {
        Write(0x10, 0x40);
        Assert.NotEqual(0u, Read(0x10) & 0x80);
        var pins = 0x40u | 2;
        Write(0x10, 0x40);
        Write(0x10, pins);
        for (var i = 8; i >= 0; i--)
        {
            var bit = ((((6 << 6) | word) >> i) & 1) != 0 ? 4u : 0;
            Write(0x10, pins | bit);
            Write(0x10, pins | bit | 1);
            Write(0x10, pins | bit);
        }

        ushort value = 0;
        for (var i = 0; i < 16; i++)
        {
            Write(0x10, pins | 1);
            value = (ushort)((value << 1) | ((Read(0x10) & 8) != 0 ? 1 : 0));
            Write(0x10, pins);
        }

        Write(0x10, 0x40);
        Write(0x10, 0);
        return value;
    }

    protected ushort ReadPhy(int register)
    {
        Write(0x20, ((uint)register << 16) | (1u << 21) | (2u << 26));
        var value = Read(0x20);
        Assert.Equal(0x1000_0000u, value & 0x5000_0000);
        return (ushort)value;
    }

    protected void WritePhy(int register, ushort value) => Write(0x20, value | ((uint)register << 16) | (1u << 21) | (1u << 26));

    private Span<byte> Next()
    {
        var descriptor = Board.Ram.Bytes.Slice(TxRing + (_txTail * 16), 16);
        descriptor.Clear();
        _txTail = (_txTail + 1) % RingLength;
        return descriptor;
    }

    private Span<byte> Buffer(ReadOnlySpan<byte> data)
    {
        var at = TxBuffers + (_txTail * 0x1_0000 / RingLength);
        if (data.Length > 0x1_0000 / RingLength) at = 0x10_0000;
        data.CopyTo(Board.Ram.Bytes[at..]);
        var descriptor = Next();
        BinaryPrimitives.WriteUInt64LittleEndian(descriptor, (ulong)at);
        return descriptor;
    }
}

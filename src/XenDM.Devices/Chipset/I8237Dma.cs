using System;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Devices.Chipset;

/// <summary>
/// The ISA DMA system of a PC: two Intel 8237A controllers, bytes on channels 0 to 3 (ports 0x00 to 0x0f), words on channels 5 to 7 (ports
/// 0xc0 to 0xdf, a register every second port), channel 4 the cascade; and the page registers 0x80 to 0x8f, of which 0x80 is the POST code
/// port. Data sheets: Intel 231466 (8237A), 290550-002 section 2.5.1 (PIIX3).
/// Deviations: no memory-to-memory transfers (not wired on a PC) and no software requests; the cascade is always open. A device moves a block
/// at a time and the bus takes no time. Bytes that are not RAM read ff and drop writes; the count goes on, as on the bus.
/// </summary>
public sealed class I8237Dma : IDevice
{
    private const int Channels = 8;
    private const ushort PagePort = 0x80;
    private const int Pages = 16;

    /// <summary>Page register of each channel; that of channel 4 only refreshes.</summary>
    private static ReadOnlySpan<byte> PageOfChannel => [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa];

    private readonly Dma _dma;
    private readonly Controller _low;
    private readonly Controller _high;
    private readonly byte[] _pages = new byte[Pages];
    private readonly Action?[] _ready = new Action?[Channels];

    public I8237Dma(IGuestMemory memory)
    {
        _dma = new Dma(memory, enabled: true);
        _low = new Controller(this, 0);
        _high = new Controller(this, 4);
    }

    public string Id => "i8237";

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("i8237 0", 0x00, 16, new TableRegion<Controller>(Controller.Registers, _low));
        ports.Map("i8237 1", 0xc0, 32, new WordSpaced(_high));
        ports.Map("i8237 pages", PagePort, Pages, new PageRegion(this));
    }

    /// <summary>Claims a channel for a device.</summary>
    /// <param name="channel">0 to 3 for bytes, 5 to 7 for words.</param>
    /// <param name="ready">Called when the guest has made the channel ready while the device requests it; never inside a transfer.</param>
    /// <exception cref="InvalidOperationException">The channel is taken or cannot be used.</exception>
    public void Connect(int channel, Action ready)
    {
        if ((uint)channel >= Channels || channel == 4 || _ready[channel] is not null) throw new InvalidOperationException($"DMA channel {channel} is not free");
        _ready[channel] = ready;
    }

    /// <summary>Drives a device's DREQ line; status bits 7:4 show it.</summary>
    public void SetRequest(int channel, bool active) => Of(channel).SetRequest(channel & 3, active);

    /// <summary>The channel is unmasked and its controller enabled.</summary>
    public bool IsReady(int channel) => Of(channel).IsReady(channel & 3);

    /// <summary>A device puts bytes into memory. Nothing moves unless the channel is ready and set to write or verify.</summary>
    /// <param name="data">For word channels an even number of bytes; an odd last byte is not taken.</param>
    /// <param name="terminalCount">The count ran out with this transfer: the EOP line.</param>
    /// <returns>Bytes taken, at most to the terminal count.</returns>
    public int WriteMemory(int channel, ReadOnlySpan<byte> data, out bool terminalCount)
    {
        var controller = Of(channel);
        terminalCount = false;
        var mode = controller.TransferOf(channel & 3);
        if (!controller.IsReady(channel & 3) || mode is not (Controller.TransferWrite or Controller.TransferVerify)) return 0;
        int unit = channel < 4 ? 1 : 2, done = 0;
        while (!terminalCount && data.Length - done >= unit)
        {
            var run = controller.Run(channel & 3, unit, data.Length - done, out var address);
            if (mode == Controller.TransferWrite) _dma.TryWrite(PageBase(channel) + address, data.Slice(done, run));
            done += run;
            terminalCount = controller.Advance(channel & 3, run / unit);
        }

        return done;
    }

    /// <summary>A device takes bytes from memory. <inheritdoc cref="WriteMemory"/></summary>
    /// <returns>Bytes given, at most to the terminal count.</returns>
    public int ReadMemory(int channel, Span<byte> data, out bool terminalCount)
    {
        var controller = Of(channel);
        terminalCount = false;
        var mode = controller.TransferOf(channel & 3);
        if (!controller.IsReady(channel & 3) || mode is not (Controller.TransferRead or Controller.TransferVerify)) return 0;
        int unit = channel < 4 ? 1 : 2, done = 0;
        while (!terminalCount && data.Length - done >= unit)
        {
            var run = controller.Run(channel & 3, unit, data.Length - done, out var address);
            if (mode == Controller.TransferRead) _dma.TryRead(PageBase(channel) + address, data.Slice(done, run));
            else data.Slice(done, run).Clear();
            done += run;
            terminalCount = controller.Advance(channel & 3, run / unit);
        }

        return done;
    }

    private Controller Of(int channel) => (channel & 4) == 0 ? _low : _high;

    /// <summary>Word channels count words, so their page has no bit 16.</summary>
    private uint PageBase(int channel) => (uint)(_pages[PageOfChannel[channel & 7]] & (channel < 4 ? 0xff : 0xfe)) << 16;

    private void ChannelReady(int channel) => _ready[channel]?.Invoke();

    /// <summary>One 8237A. Channel numbers here are 0 to 3.</summary>
    private sealed class Controller : IStateful
    {
        public const int TransferVerify = 0;
        public const int TransferWrite = 1;
        public const int TransferRead = 2;
        private const byte CommandDisable = 0x04;
        private const byte ModeAutoInitialize = 0x10;
        private const byte ModeDecrement = 0x20;
        private const byte ModeCascade = 0xc0;

        public static readonly RegisterTable<Controller> Registers = BuildTable();

        private readonly I8237Dma _owner;
        private readonly int _first;
        private readonly ushort[] _baseAddress = new ushort[4];
        private readonly ushort[] _baseCount = new ushort[4];
        private readonly ushort[] _address = new ushort[4];
        private readonly ushort[] _count = new ushort[4];
        private readonly byte[] _mode = new byte[4];
        private byte _command;
        private byte _status;
        private byte _mask = 0x0f;
        private byte _request;
        private bool _flipFlop;

        public Controller(I8237Dma owner, int first)
        {
            _owner = owner;
            _first = first;
        }

        public bool IsReady(int channel) => (_command & CommandDisable) == 0 && (_mask & (1 << channel)) == 0 && (_mode[channel] & ModeCascade) != ModeCascade;

        public int TransferOf(int channel) => (_mode[channel] >> 2) & 3;

        public void SetRequest(int channel, bool active)
        {
            var bit = (byte)(0x10 << channel);
            _status = active ? (byte)(_status | bit) : (byte)(_status & ~bit);
        }

        /// <summary>The next stretch that is contiguous in memory: a single unit when the address counts down.</summary>
        /// <param name="room">Bytes that the device has, at least one unit.</param>
        /// <returns>Bytes.</returns>
        public int Run(int channel, int unit, int room, out uint address)
        {
            address = (uint)_address[channel] * (uint)unit;
            if ((_mode[channel] & ModeDecrement) != 0) return unit;
            var units = Math.Min(room / unit, Math.Min(_count[channel] + 1, 0x10000 - _address[channel]));
            return units * unit;
        }

        /// <summary>Counts units that were moved. The count stands one below what is left, and runs out when it passes zero.</summary>
        public bool Advance(int channel, int units)
        {
            _address[channel] = (ushort)((_mode[channel] & ModeDecrement) != 0 ? _address[channel] - units : _address[channel] + units);
            var left = _count[channel] - units;
            _count[channel] = (ushort)left;
            if (left >= 0) return false;
            _status |= (byte)(1 << channel);
            if ((_mode[channel] & ModeAutoInitialize) != 0)
            {
                _address[channel] = _baseAddress[channel];
                _count[channel] = _baseCount[channel];
            }
            else _mask |= (byte)(1 << channel);

            return true;
        }

        public void Reset()
        {
            MasterClear();
            _status = 0;
            foreach (var array in (ReadOnlySpan<ushort[]>)[_baseAddress, _baseCount, _address, _count]) array.AsSpan().Clear();
            _mode.AsSpan().Clear();
        }

        public void State(StateVisitor s)
        {
            for (var i = 0; i < 4; i++)
            {
                s.U16($"channel{i}.base-address", ref _baseAddress[i]);
                s.U16($"channel{i}.base-count", ref _baseCount[i]);
                s.U16($"channel{i}.address", ref _address[i]);
                s.U16($"channel{i}.count", ref _count[i]);
                s.U8($"channel{i}.mode", ref _mode[i]);
            }

            s.U8("command", ref _command);
            s.U8("status", ref _status);
            s.U8("mask", ref _mask);
            s.U8("request", ref _request);
            s.Bool("flip-flop", ref _flipFlop);
        }

        private static RegisterTable<Controller> BuildTable()
        {
            var table = new RegisterTable<Controller>("8237A", 16);
            for (var i = 0; i < 4; i++)
            {
                var channel = i;
                table.Computed(2 * i, 1, $"ADDRESS{i}", read: c => c.ReadHalf(c._address[channel]), write: (c, v) => c.WriteHalf(c._baseAddress, c._address, channel, (byte)v));
                table.Computed((2 * i) + 1, 1, $"COUNT{i}", read: c => c.ReadHalf(c._count[channel]), write: (c, v) => c.WriteHalf(c._baseCount, c._count, channel, (byte)v));
            }

            return table
                .Computed(0x8, 1, "STATUS/COMMAND", read: static c => c.ReadStatus(), write: static (c, v) => c.WriteCommand((byte)v))
                .Computed(0x9, 1, "REQUEST", write: static (c, v) => c._request = SetBit(c._request, (int)v))
                .Computed(0xa, 1, "MASK", write: static (c, v) => c.WriteMask(SetBit(c._mask, (int)v)))
                .Computed(0xb, 1, "MODE", write: static (c, v) => c.WriteMode((byte)v))
                .Computed(0xc, 1, "CLEAR FLIP-FLOP", write: static (c, _) => c._flipFlop = false)
                .Computed(0xd, 1, "TEMPORARY/MASTER CLEAR", read: static _ => 0, write: static (c, _) => c.MasterClear())
                .Computed(0xe, 1, "CLEAR MASK", write: static (c, _) => c.WriteMask(0))
                .Computed(0xf, 1, "ALL MASK", read: static c => 0xf0u | c._mask, write: static (c, v) => c.WriteMask((byte)(v & 0x0f)))
                .Build();
        }

        /// <summary>Bits 1:0 choose the channel, bit 2 is its new bit.</summary>
        private static byte SetBit(byte bits, int value)
        {
            var bit = 1 << (value & 3);
            return (byte)((value & 4) != 0 ? bits | bit : bits & ~bit);
        }

        private byte ReadHalf(ushort value)
        {
            var half = (byte)(_flipFlop ? value >> 8 : value);
            _flipFlop = !_flipFlop;
            return half;
        }

        private void WriteHalf(ushort[] bases, ushort[] currents, int channel, byte value)
        {
            bases[channel] = (ushort)(_flipFlop ? (bases[channel] & 0x00ff) | (value << 8) : (bases[channel] & 0xff00) | value);
            currents[channel] = bases[channel];
            _flipFlop = !_flipFlop;
        }

        private byte ReadStatus()
        {
            var value = _status;
            _status &= 0xf0;
            return value;
        }

        private void WriteCommand(byte value)
        {
            _command = value;
            TellReady(0x0f);
        }

        private void WriteMask(byte mask)
        {
            var opened = (byte)(_mask & ~mask);
            _mask = mask;
            TellReady(opened);
        }

        private void WriteMode(byte value) => _mode[value & 3] = (byte)(value & 0xfc);

        private void MasterClear()
        {
            _command = 0;
            _status &= 0xf0;
            _request = 0;
            _mask = 0x0f;
            _flipFlop = false;
        }

        private void TellReady(byte channels)
        {
            for (var i = 0; i < 4; i++)
                if ((channels & (1 << i)) != 0 && (_status & (0x10 << i)) != 0 && IsReady(i)) _owner.ChannelReady(_first + i);
        }
    }

    /// <summary>The second controller's address lines are shifted by one: two ports a register, both the same.</summary>
    private sealed class WordSpaced(Controller controller) : IIoRegion
    {
        public ulong Read(ulong offset, int size) => Controller.Registers.Read(controller, offset >> 1, 1) | (AddressSpace.Mask(size) & ~0xfful);

        public void Write(ulong offset, int size, ulong value) => Controller.Registers.Write(controller, offset >> 1, 1, value & 0xff);
    }

    /// <summary>Sixteen bytes of storage; those without a channel are only that.</summary>
    private sealed class PageRegion(I8237Dma chip) : IIoRegion
    {
        public ulong Read(ulong offset, int size)
        {
            ulong value = 0;
            for (var i = 0; i < size; i++) value |= (ulong)chip._pages[((int)offset + i) & (Pages - 1)] << (8 * i);
            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            for (var i = 0; i < size; i++) chip._pages[((int)offset + i) & (Pages - 1)] = (byte)(value >> (8 * i));
        }
    }

    public void Reset(ResetKind kind)
    {
        _low.Reset();
        _high.Reset();
        _pages.AsSpan().Clear();
    }

    public void State(StateVisitor s)
    {
        s.Child("low", _low);
        s.Child("high", _high);
        s.Bytes("pages", _pages);
    }
}

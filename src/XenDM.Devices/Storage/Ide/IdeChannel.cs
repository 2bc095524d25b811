using System;
using System.Buffers.Binary;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Memory;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Devices.Storage.Ide;

/// <summary>What the bus master's table gave.</summary>
internal enum IdeDmaResult
{
    Ok,

    /// <summary>The table ended before the transfer.</summary>
    Exhausted,

    /// <summary>The table, or what it points to, is no RAM, or bus mastering is off.</summary>
    Fault,
}

/// <summary>
/// One IDE channel: the command block (8 ports), the control block (1 port), up to two drives, INTRQ, and its half of the PIIX3's bus master
/// (8 ports). Data sheets: ATA/ATAPI-6 chapter 7 for the registers, Intel 82371SB (PIIX3) section 2.5 for the bus master. Registers of a
/// drive that is not there read 0.
/// </summary>
internal sealed class IdeChannel : IBulkRegion, IStateful
{
    private const byte SoftReset = 0x04;
    private const byte InterruptMask = 0x02;
    private const byte HighOrder = 0x80;
    private const byte DeviceSelect = 0x10;

    private const byte BmStart = 0x01;
    private const byte BmToMemory = 0x08;
    private const byte BmActive = 0x01;
    private const byte BmError = 0x02;
    private const byte BmInterrupt = 0x04;
    private const uint EndOfTable = 0x8000_0000;

    /// <summary>The table lies in one 64 KiB block, so this many entries end any walk.</summary>
    private const int MaxEntries = 8192;

    private static readonly RegisterTable<IdeChannel> s_busMaster = new RegisterTable<IdeChannel>("PIIX3 bus master", 8)
        .Byte(0, "BMICX", static c => ref c._bmCommand, write: static (c, v) => c.WriteBmCommand((byte)v))
        .Reserved(1, 1)
        .Byte(2, "BMISX", static c => ref c._bmStatus, mask: 0x60, clear: BmError | BmInterrupt)
        .Reserved(3, 1)
        .Dword(4, "BMIDTPX", static c => ref c._tableAddress, mask: 0xffff_fffc)
        .Build();

    private readonly IdeDrive?[] _drives = new IdeDrive?[2];
    private readonly IrqLine _irq;
    private readonly string _name;
    private byte _control;
    private byte _select;
    private byte _bmCommand;
    private byte _bmStatus;
    private uint _tableAddress;
    private uint _nextEntry;
    private int _entriesLeft;
    private ulong _chunkAddress;
    private uint _chunkLeft;
    private bool _lastEntry;

    public IdeChannel(string name, IrqLine irq, Dma dma)
    {
        _name = name;
        _irq = irq;
        Dma = dma;
        Control = new ControlBlock(this);
        BusMaster = new TableRegion<IdeChannel>(s_busMaster, this);
    }

    /// <summary>The port of Alternate Status and Device Control.</summary>
    public IIoRegion Control { get; }

    /// <summary>The 8 ports of the bus master.</summary>
    public IIoRegion BusMaster { get; }

    public Dma Dma { get; }

    /// <summary>The bus master is started and has not met an error.</summary>
    public bool IsRunning => (_bmCommand & BmStart) != 0 && (_bmStatus & BmActive) != 0;

    private IdeDrive? Selected => _drives[(_select & DeviceSelect) >> 4];

    public IdeDrive? Drive(int unit) => _drives[unit];

    public void Attach(IdeDrive drive) => _drives[drive.Unit] = drive;

    /// <summary>The drive vanishes: its registers read 0 from now on.</summary>
    public void Detach(int unit)
    {
        _drives[unit] = null;
        UpdateInterrupt();
    }

    public ulong Read(ulong offset, int size)
    {
        if (offset == 0 && size >= 2) return Selected?.ReadData(size) ?? AddressSpace.Mask(size);
        ulong value = 0;
        for (var i = 0; i < size; i++) value |= (ulong)ReadByte((int)offset + i) << (8 * i);
        return value;
    }

    public void Write(ulong offset, int size, ulong value)
    {
        if (offset == 0 && size >= 2)
        {
            Selected?.WriteData(size, (uint)value);
            return;
        }

        for (var i = 0; i < size; i++) WriteByte((int)offset + i, (byte)(value >> (8 * i)));
    }

    public void ReadBlock(ulong offset, int size, Span<byte> data)
    {
        if (offset == 0 && Selected is { } drive)
        {
            drive.ReadDataBlock(size, data);
            return;
        }

        for (var i = 0; i + size <= data.Length; i += size)
        {
            var value = Read(offset, size);
            for (var j = 0; j < size; j++) data[i + j] = (byte)(value >> (8 * j));
        }
    }

    public void WriteBlock(ulong offset, int size, ReadOnlySpan<byte> data)
    {
        if (offset == 0)
        {
            Selected?.WriteDataBlock(size, data);
            return;
        }

        for (var i = 0; i + size <= data.Length; i += size)
        {
            ulong value = 0;
            for (var j = 0; j < size; j++) value |= (ulong)data[i + j] << (8 * j);
            Write(offset, size, value);
        }
    }

    /// <summary>INTRQ is that of the selected drive; the bus master latches its rise.</summary>
    public void UpdateInterrupt()
    {
        var level = Selected is { Interrupt: true } && (_control & InterruptMask) == 0;
        if (level && !_irq.Level) _bmStatus |= BmInterrupt;
        _irq.Set(level);
    }

    /// <summary>A drive has data for the bus master or wants some: it begins when both sides are ready.</summary>
    public void DriveWantsDma(IdeDrive drive)
    {
        if (IsRunning && drive == Selected) drive.RunDma();
    }

    /// <summary>The bus master cannot go on: its table is too short, or points to what is no RAM.</summary>
    public void DmaStopped(bool fault)
    {
        _bmStatus &= unchecked((byte)~BmActive);
        if (fault) _bmStatus |= BmError;
    }

    /// <summary>The drive has all it wanted. When the table ends here too, the bus master is done; else it stays active (PIIX3, table of BMISX).</summary>
    public void DmaFinished()
    {
        if (_chunkLeft == 0 && _lastEntry) _bmStatus &= unchecked((byte)~BmActive);
    }

    /// <summary>Takes up to <paramref name="wanted"/> bytes of contiguous memory from the table.</summary>
    public IdeDmaResult NextChunk(int wanted, out ulong gpa, out int length)
    {
        gpa = 0;
        length = 0;
        Span<byte> entry = stackalloc byte[8];
        while (_chunkLeft == 0)
        {
            if (_lastEntry || _entriesLeft == 0) return IdeDmaResult.Exhausted;
            if (!Dma.TryRead(_nextEntry, entry)) return IdeDmaResult.Fault;
            var flags = BinaryPrimitives.ReadUInt32LittleEndian(entry[4..]);

            // Bit 0 of address and count are 0 by definition; a count of 0 means 64 KiB.
            _chunkAddress = BinaryPrimitives.ReadUInt32LittleEndian(entry) & 0xffff_fffe;
            _chunkLeft = flags & 0xfffe;
            if (_chunkLeft == 0) _chunkLeft = 0x10000;
            _lastEntry = (flags & EndOfTable) != 0;
            _nextEntry += 8;
            _entriesLeft--;
        }

        length = (int)Math.Min((uint)wanted, _chunkLeft);
        gpa = _chunkAddress;
        _chunkAddress += (uint)length;
        _chunkLeft -= (uint)length;
        return IdeDmaResult.Ok;
    }

    /// <summary>Undoes the end of the last <see cref="NextChunk"/>.</summary>
    public void GiveBack(ulong gpa, int length)
    {
        _chunkAddress = gpa;
        _chunkLeft += (uint)length;
    }

    /// <summary>Reset of the chip.</summary>
    public void Reset()
    {
        _control = _select = 0;
        s_busMaster.Reset(this);
        _nextEntry = 0;
        _entriesLeft = 0;
        _chunkAddress = 0;
        _chunkLeft = 0;
        _lastEntry = false;
        ResetDrives();
        UpdateInterrupt();
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_busMaster, this);
        s.U8("control", ref _control);
        s.U8("select", ref _select);
        s.U32("next_entry", ref _nextEntry);
        s.I32("entries_left", ref _entriesLeft, 0, MaxEntries);
        s.U64("chunk_address", ref _chunkAddress);
        s.U32("chunk_left", ref _chunkLeft);
        s.Bool("last_entry", ref _lastEntry);
        s.Line("irq", _irq);
        for (var unit = 0; unit < 2; unit++)
        {
            var present = _drives[unit] is not null;
            s.Bool($"present{unit}", ref present);
            if (s.IsLoading && !present) _drives[unit] = null;
            else if (s.IsLoading && _drives[unit] is null) s.Fail($"present{unit}", $"the saved machine has a drive on the {_name} channel, this one has none");
            if (_drives[unit] is { } drive) s.Child($"drive{unit}", drive);
        }
    }

    private byte ReadByte(int offset)
    {
        if (Selected is not { } drive) return 0;
        switch (offset)
        {
            case 0: return (byte)drive.ReadData(1);
            case 7:
                var status = drive.Status;
                drive.Interrupt = false;
                return status;
            default: return drive.ReadRegister(offset, (_control & HighOrder) != 0);
        }
    }

    private void WriteByte(int offset, byte value)
    {
        if (offset == 0)
        {
            Selected?.WriteData(1, value);
            return;
        }

        if (offset == 7)
        {
            // EXECUTE DEVICE DIAGNOSTIC is for both drives, whichever is selected.
            if (value == 0x90) ResetDrives(diagnostic: true);
            else Selected?.WriteCommand(value);
            return;
        }

        _control &= unchecked((byte)~HighOrder);
        foreach (var drive in _drives) drive?.WriteRegister(offset, value);
        if (offset != 6) return;
        _select = value;
        UpdateInterrupt();
    }

    private void WriteControl(byte value)
    {
        var before = _control;
        _control = value;
        if ((value & SoftReset) != 0 && (before & SoftReset) == 0) ResetDrives();
        UpdateInterrupt();
    }

    /// <summary>Both drives go through reset; drive 0 is selected afterwards. Diagnostics end with an interrupt.</summary>
    private void ResetDrives(bool diagnostic = false)
    {
        _select &= unchecked((byte)~DeviceSelect);
        foreach (var drive in _drives) drive?.ResetDrive();
        if (diagnostic && _drives[0] is { } first) first.Interrupt = true;
    }

    private void WriteBmCommand(byte value)
    {
        var before = _bmCommand;
        if ((value & BmStart) == 0 && (before & BmStart) != 0) Selected?.FinishDma();
        _bmCommand = (byte)(value & (BmStart | BmToMemory));
        if ((value & BmStart) == 0)
        {
            _bmStatus &= unchecked((byte)~BmActive);
            return;
        }

        if ((before & BmStart) != 0) return;
        _bmStatus |= BmActive;
        _nextEntry = _tableAddress;
        _entriesLeft = MaxEntries;
        _chunkLeft = 0;
        _lastEntry = false;
        if (Selected is { WantsDma: true } drive) drive.RunDma();
    }

    private sealed class ControlBlock(IdeChannel channel) : IIoRegion
    {
        public ulong Read(ulong offset, int size) => channel.Selected?.Status ?? (ulong)0;

        public void Write(ulong offset, int size, ulong value) => channel.WriteControl((byte)value);
    }
}

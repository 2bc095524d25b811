using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.State;
using XenDM.Devices.Firmware;
using XenDM.Machines;
using XenDM.Testing;

namespace XenDM.Fuzz;

/// <summary>What one step does.</summary>
internal enum FuzzKind
{
    Access,
    Config,
    Time,
    Complete,
    Dma,
    Ata,
    Serial,
    Nic,
    Frame,
    Medium,
    Errors,
    SaveRestore,
    Reset,
}

/// <summary>One step, with all that it needs to be done again.</summary>
internal readonly record struct FuzzStep(FuzzKind Kind, IoRequest Request, int Number)
{
    public override string ToString() => Kind is FuzzKind.Access or FuzzKind.Config
        ? $"{Kind} {Request.Space} {(Request.IsRead ? "read" : "write")} {Request.Address:x}/{Request.Size} x{Request.Count} ptr={Request.DataIsPointer} down={Request.Descending} data={Request.Data:x}"
        : $"{Kind} {Number}";
}

/// <summary>The board with everything on it, and the guest that does anything.</summary>
internal sealed class FuzzMachine
{
    private const int RamBytes = 4 << 20;
    private static readonly string[] s_models = [NicSpec.E1000, NicSpec.Rtl8139, NicSpec.Rtl8139C];
    private readonly Random _random;
    private readonly TestBoard _host = new(RamBytes);
    private readonly List<(ulong Start, ulong End)> _ports = [];
    private readonly FuzzChar[] _serial = [new(), new(), new(), new()];
    private readonly FakeNet[] _nets = new FakeNet[s_models.Length];
    private readonly byte[] _frame = new byte[9000];
    private readonly IMediumListener _tray;
    private readonly Board _board;

    public FuzzMachine(int seed)
    {
        _random = new Random(seed);
        var config = new FwCfg(_host.Ram);
        config.AddFile("bootorder", new byte[100]);
        config.AddText(FwCfg.KeyCommandLineData, "quiet");
        config.Add(FwCfg.KeyInitrdData, 1 << 20, static (_, destination) =>
        {
            destination.Fill(0x77);
            return true;
        });
        for (var i = 0; i < s_models.Length; i++) _nets[i] = new FakeNet { Log = false };
        NicSpec[] nics = [.. s_models.Select(static (model, i) => new NicSpec(model, "", $"{i}", NicSpec.DefaultMac(i)) { RomFile = "" })];
        var options = new BoardOptions(true, true, 1, 4, _serial, "cda", config) { Nics = nics, FindNet = id => _nets[int.Parse(id, CultureInfo.InvariantCulture)] };
        _board = new Board(options, _host.Hypervisor, _host.Clock, _host, _host, SilentGuestLog.Instance);
        for (var i = 0; i < 3; i++)
        {
            var disk = new FakeDisk(_host.Loop, (i + 1) << 20) { Log = false };
            Disks.Add(disk);
            _board.Ide.AttachDisk(i / 2, i % 2, $"disk{i}", disk, $"F{i}", writeCache: i != 1);
        }

        var disc = new FakeDisk(_host.Loop, 1 << 20, readOnly: true) { Log = false };
        Disks.Add(disc);
        _tray = _board.Ide.AttachCdrom(1, 1, "cd", "cd-device", disc, "F3");
        _board.Reset(ResetKind.Cold);
    }

    public TestBoard Board => _host;

    public List<FakeDisk> Disks { get; } = [];

    public int Saves { get; private set; }

    public long Requests
    {
        get
        {
            long sum = 0;
            foreach (var disk in Disks) sum += disk.Count;
            return sum;
        }
    }

    /// <summary>Frames that the NICs sent.</summary>
    public long Frames => _nets.Sum(static n => n.Count);

    public ulong Hash() => StateHasher.Hash(_board.Devices);

    public FuzzStep Choose()
    {
        var dice = _random.Next(1000);
        return dice switch
        {
            < 620 => new FuzzStep(FuzzKind.Access, RandomAccess(), 0),
            < 700 => new FuzzStep(FuzzKind.Config, RandomConfig(), 0),
            < 800 => new FuzzStep(FuzzKind.Ata, default, _random.Next()),
            < 830 => new FuzzStep(FuzzKind.Nic, default, _random.Next()),
            < 845 => new FuzzStep(FuzzKind.Frame, default, _random.Next()),
            < 870 => new FuzzStep(FuzzKind.Dma, default, _random.Next()),
            < 900 => new FuzzStep(FuzzKind.Time, default, _random.Next(1, 50_000_000)),
            < 970 => new FuzzStep(FuzzKind.Complete, default, 0),
            < 985 => new FuzzStep(FuzzKind.Serial, default, _random.Next()),
            < 991 => new FuzzStep(FuzzKind.Medium, default, _random.Next(3)),
            < 997 => new FuzzStep(FuzzKind.Errors, default, _random.Next()),
            < 999 => new FuzzStep(FuzzKind.SaveRestore, default, 0),
            _ => new FuzzStep(FuzzKind.Reset, default, 0),
        };
    }

    public void Do(in FuzzStep step)
    {
        var request = step.Request;
        switch (step.Kind)
        {
            case FuzzKind.Access or FuzzKind.Config: _board.Io.Dispatch(ref request); break;
            case FuzzKind.Time: _host.Advance(step.Number); break;
            case FuzzKind.Complete: _host.Loop.RunPosted(); break;
            case FuzzKind.Dma: MakeTable(step.Number); break;
            case FuzzKind.Ata: AtaCommand(step.Number); break;
            case FuzzKind.Nic: DriveNic(step.Number); break;
            case FuzzKind.Frame: BringFrame(step.Number); break;
            case FuzzKind.Serial: _serial[step.Number & 3].Push(step.Number); break;
            case FuzzKind.Medium: ChangeMedium(step.Number); break;
            case FuzzKind.Errors: PlantErrors(step.Number); break;
            case FuzzKind.SaveRestore: SaveRestore(); break;
            default:
                Drain();
                _board.Reset(_random.Next(2) == 0 ? ResetKind.Cold : ResetKind.Warm);
                break;
        }
    }

    private IoRequest RandomAccess()
    {
        if (_ports.Count == 0 || _random.Next(5000) == 0)
        {
            _ports.Clear();
            foreach (var range in _board.Ports.ClaimedRanges()) _ports.Add(range);
        }

        var (start, end) = _ports[_random.Next(_ports.Count)];
        var length = Math.Min(end - start + 1, 64);
        var request = new IoRequest
        {
            Space = IoSpace.Port,
            Address = start + (ulong)_random.NextInt64((long)length),
            IsRead = _random.Next(2) == 0,
            Size = 1u << _random.Next(3),
            Count = 1,
            Data = RandomValue(),
        };
        if (_random.Next(12) != 0) return request;
        request.DataIsPointer = true;
        request.Count = (uint)_random.Next(1, 300);
        request.Data = (ulong)_random.NextInt64(RamBytes + 8192);
        request.Descending = _random.Next(4) == 0;
        if (_random.Next(4) == 0) request.Address = _random.Next(2) == 0 ? 0x1f0ul : 0x170;
        return request;
    }

    private IoRequest RandomConfig() => new()
    {
        Space = IoSpace.PciConfig,
        Address = ((ulong)_random.Next(0, 0x20) << 16) | (uint)_random.Next(0, 260),
        IsRead = _random.Next(3) == 0,
        Size = 1u << _random.Next(3),
        Count = 1,
        Data = RandomValue(),
    };

    private ulong RandomValue() => _random.Next(6) switch
    {
        0 => 0,
        1 => uint.MaxValue,
        2 => 1ul << _random.Next(32),
        3 => (ulong)_random.Next(16),
        _ => (ulong)_random.NextInt64(1L << 32),
    };

    /// <summary>A table of the bus master as a driver would make it, or not quite, and the registers that start it.</summary>
    private void MakeTable(int number)
    {
        var random = new Random(number);
        var table = (uint)random.Next(RamBytes / 4096) * 4096u;
        var entries = random.Next(1, 20);
        for (var i = 0; i < entries && table + (i * 8) + 8 <= RamBytes; i++)
        {
            var entry = _host.Ram.Bytes.Slice((int)table + (i * 8), 8);
            BinaryPrimitives.WriteUInt32LittleEndian(entry, random.Next(10) == 0 ? uint.MaxValue - 100 : (uint)random.Next(RamBytes));
            BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], (uint)random.Next(0x10000) | (i == entries - 1 && random.Next(8) != 0 ? 0x8000_0000 : 0));
        }

        // The function as its firmware leaves it: bus master at c000, enabled.
        _board.Pci.Write((0x09ul << 16) | 0x20, 4, 0xc000);
        _board.Pci.Write((0x09ul << 16) | 0x04, 2, 5);
        var channel = (ulong)(random.Next(2) * 8);
        _board.Ports.Write(0xc004 + channel, 4, random.Next(20) == 0 ? 0xffff_fff8 : table);
        _board.Ports.Write(0xc002 + channel, 1, 6);
        _board.Ports.Write(0xc000 + channel, 1, (ulong)(random.Next(2) * 8) | 1);
        if (random.Next(3) == 0) _board.Ports.Write(0xc000 + channel, 1, 0);
    }

    /// <summary>A command with a task file that makes sense often enough to get into the data phases.</summary>
    private void AtaCommand(int number)
    {
        var random = new Random(number);
        ReadOnlySpan<byte> commands =
        [
            0x20, 0x24, 0x29, 0x30, 0x34, 0x39, 0xc4, 0xc5, 0xc8, 0xca, 0x25, 0x35, 0x40, 0x42, 0xe7, 0xea, 0xec, 0xef, 0xc6, 0x91, 0x06, 0xb0, 0xf8, 0x27, 0xe5, 0xa0, 0xa0, 0xa0, 0xa1, 0x08, 0x90,
        ];
        var port = random.Next(2) == 0 ? 0x1f0u : 0x170u;
        if (random.Next(4) == 0)
        {
            // A driver that waits in vain resets the channel.
            _board.Ports.Write(port + 0x206, 1, 0x0c);
            _board.Ports.Write(port + 0x206, 1, 0x08);
        }

        _board.Ports.Write(port + 6, 1, 0xe0u | (uint)(random.Next(2) << 4) | (random.Next(6) == 0 ? 0x0fu : 0));
        _board.Ports.Write(port + 1, 1, (uint)random.Next(4));
        _board.Ports.Write(port + 2, 1, (uint)random.Next(random.Next(2) == 0 ? 4 : 256));
        _board.Ports.Write(port + 3, 1, (uint)random.Next(256));
        _board.Ports.Write(port + 4, 1, random.Next(3) == 0 ? 0x4fu : (uint)random.Next(16));
        _board.Ports.Write(port + 5, 1, random.Next(3) == 0 ? 0xc2u : 0);
        var command = random.Next(10) == 0 ? (byte)random.Next(256) : commands[random.Next(commands.Length)];
        _board.Ports.Write(port + 7, 1, command);
        if (command != 0xa0) return;
        ReadOnlySpan<byte> packets = [0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0xa8, 0xbe, 0x2b, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x52, 0x5a, 0x55, 0xbd, 0x28, 0x28];
        Span<byte> packet = stackalloc byte[12];
        random.NextBytes(packet);
        if (random.Next(4) != 0) packet[1..].Clear();
        packet[0] = random.Next(10) == 0 ? (byte)random.Next(256) : packets[random.Next(packets.Length)];
        packet[8] = (byte)random.Next(40);
        packet[5] = (byte)random.Next(256);
        for (var i = 0; i < 12; i += 2) _board.Ports.Write(port, 2, (uint)(packet[i] | (packet[i + 1] << 8)));
    }

    /// <summary>A NIC as its driver sets it up, or nearly, with rings and packets that are full of noise, and a doorbell.</summary>
    private void DriveNic(int number)
    {
        var random = new Random(number);
        var index = random.Next(s_models.Length);
        if (_board.Pci.Find(_board.Nics[index].Device, 0) != _board.Nics[index]) return;
        var slot = (ulong)_board.Nics[index].Device << 19;
        var registers = 0xe000_0000u + ((uint)index << 20);
        _board.Pci.Write(slot | 0x10, 4, index == 0 ? registers : 0xd000u + ((uint)index << 8));
        _board.Pci.Write(slot | 0x14, 4, index == 0 ? 0xd000u : registers);
        _board.Pci.Write(slot | 0x04, 2, 7);
        var rings = random.Next(RamBytes >> 12) << 12;
        for (var i = 0; i < 64; i++)
        {
            // Options, and buffers that mostly lie in RAM.
            var descriptor = _host.Ram.Bytes.Slice(rings + (i * 16), 16);
            random.NextBytes(descriptor);
            BinaryPrimitives.WriteUInt64LittleEndian(descriptor[(index == 0 ? 0 : 8)..], random.Next(16) == 0 ? (ulong)random.NextInt64() : (ulong)random.Next(RamBytes));
            if (index != 0) continue;
            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[8..], (ushort)random.Next(0x4000));
            if (random.Next(2) == 0) descriptor[10] &= 0x10;
        }

        void Set(uint register, uint value) => _board.Memory.Write(registers + register, 4, value);
        if (index == 0)
        {
            foreach (var (register, value) in (ReadOnlySpan<(uint, uint)>)
            [
                (0x2800, (uint)rings), (0x2808, 1024), (0x2810, (uint)random.Next(64)), (0x2818, (uint)random.Next(64)), (0x3800, (uint)rings), (0x3808, 1024), (0x3810, (uint)random.Next(64)),
                (0x100, (uint)random.Next() | 2), (0x400, 0xa), (0, (uint)random.Next() & 0x4000_0041), (0x3818, (uint)random.Next(66)), (0xd0, (uint)random.Next()), (0x5000, (uint)random.Next(0x800)),
            ]) Set(register, value);
            return;
        }

        Set(0xe0, (uint)random.Next(0x80));
        foreach (var register in (ReadOnlySpan<uint>)[0x20, 0x24, 0x28, 0x2c, 0x30, 0xe4])
            if (random.Next(3) != 0) Set(register, register is 0x24 or 0x2c ? 0 : (uint)rings);
        _board.Memory.Write(registers + 0x37, 1, 0xc);
        Set(0x44, (uint)random.Next() | 0xf);
        if (random.Next(4) == 0) Set(0x40, (uint)random.Next());
        for (var i = 0u; i < 4; i++) Set(0x10 + (4 * i), (uint)random.Next(0x2000));
        _board.Memory.Write(registers + 0xd9, 1, (uint)random.Next(256));
    }

    private void BringFrame(int number)
    {
        var random = new Random(number);
        var index = random.Next(s_models.Length);
        var net = _nets[index];
        random.NextBytes(_frame.AsSpan(0, 100));
        if (random.Next(2) == 0) NicSpec.DefaultMac(index).CopyTo(_frame);
        if (random.Next(2) == 0) (_frame[12], _frame[13], _frame[14], _frame[16], _frame[17]) = (8, 0, 0x45, 0, (byte)random.Next(200));
        net.Bring(_frame.AsSpan(0, random.Next(14, random.Next(8) == 0 ? _frame.Length : 1600)));
        net.Full = random.Next(4) == 0;
        if (random.Next(16) == 0) net.IsLinkUp = !net.IsLinkUp;
    }

    private void ChangeMedium(int number)
    {
        if (number == 0) _tray.MediumChanged(null);
        else if (number == 1) _tray.MediumChanged(Disks[3]);
        else _tray.EjectRequested();
    }

    private void PlantErrors(int number)
    {
        var random = new Random(number);
        var disk = Disks[random.Next(Disks.Count)];
        if (disk.Errors.Count > 20) disk.Errors.Clear();
        else disk.Errors[random.Next(disk.Data.Length)] = random.Next(2) == 0 ? 5 : 28;
        disk.Hold = random.Next(8) == 0;
        if (!disk.Hold) disk.Release();
    }

    private void Drain()
    {
        foreach (var disk in Disks) disk.Release();
        _host.Loop.RunPosted();
        foreach (var disk in Disks)
            while (disk.InFlight > 0) _host.Loop.RunPosted();
    }

    /// <summary>Saved and restored in place, the state must be the same to the byte.</summary>
    private void SaveRestore()
    {
        Drain();
        Saves++;
        var first = Save();
        StateReader.Load(_board.Devices, first);
        if (!first.AsSpan().SequenceEqual(Save())) throw new InvalidOperationException("the state changed by a restore");
    }

    private byte[] Save()
    {
        using var stream = new MemoryStream();
        StateWriter.Save(_board.Devices, stream);
        return stream.ToArray();
    }
}

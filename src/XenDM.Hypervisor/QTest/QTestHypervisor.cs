using System;
using System.Collections.Generic;
using System.Numerics;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Hypervisor.Embedded;
using XenDM.Platform;

namespace XenDM.Hypervisor.QTest;

/// <summary>
/// The home of the scripted driver: the board with RAM and the platform chips, but no CPU. A client says which port or address is accessed, and
/// when time goes on; accesses enter at hop 2 as a CPU's do. Machine thread only.
/// </summary>
public sealed class QTestHypervisor : IHypervisor
{
    private const ulong PageBytes = 4096;

    /// <summary>Chips answer at most a dword at once; a longer access is taken apart as the bus does it.</summary>
    private const ulong MaxAccess = 4;

    /// <summary>Rounds of timers at one moment. A chip that arms a timer for now, over and over, must not hold the clock for ever.</summary>
    private const int MaxRoundsWithoutTime = 10_000;

    private readonly GuestRam _ram;
    private readonly FirmwareRom? _rom;
    private VideoRam? _video;
    private readonly AddressSpace _platformPorts = new(IoSpace.Port, 0xffff);
    private readonly AddressSpace _platformMemory = new(IoSpace.Memory, ulong.MaxValue);
    private readonly List<IDevice> _devices = [];
    private VmClock _clock = null!;
    private IRequestHandler _handler = null!;
    private AddressSpace _boardMemory = null!;
    private long _now;
    private int _roundsWithoutTime;

    /// <param name="memoryBytes">A multiple of 4 KiB, at least 2 MiB.</param>
    /// <param name="cpus">vCPUs that the board tells of; none runs.</param>
    /// <param name="firmware">Image that ends at 4 GiB, and whose last 128 KiB are seen below 1 MiB too; empty for none.</param>
    /// <exception cref="System.IO.IOException">The host has no memory for it.</exception>
    public QTestHypervisor(ulong memoryBytes, int cpus, ReadOnlySpan<byte> firmware)
    {
        MemoryBytes = memoryBytes;
        MaxVcpus = cpus;
        _ram = new GuestRam(memoryBytes);
        if (!firmware.IsEmpty) _rom = new FirmwareRom(firmware, _ram.Map);
    }

    public ulong MemoryBytes { get; }

    /// <summary>The time that the client has reached, in nanoseconds: the source of the machine's clock.</summary>
    public long Now => _now;

    public PcInterruptWires Wires { get; private set; } = null!;

    public Mc146818Rtc Rtc { get; private set; } = null!;

    public PmTimer PmTimer { get; private set; } = null!;

    /// <summary>The platform's chips.</summary>
    public IReadOnlyList<IDevice> Devices => _devices;

    /// <summary>Called when the guest ends or the machine was reset, after the chips know.</summary>
    public Action<ShutdownReason>? Ended { get; set; }

    public IGuestMemory Memory => _ram;

    /// <summary>Makes the memory of the display adapter, once.</summary>
    /// <param name="bytes">A power of two from 256 KiB to 256 MiB.</param>
    /// <exception cref="System.IO.IOException">The host has no memory for it.</exception>
    public VideoMemory CreateVideoMemory(int bytes)
    {
        _video = new VideoRam(bytes, _ram.Map, _ram.Low, GuestRam.FourGiB - (_rom?.Bytes ?? 0));
        return _video;
    }

    /// <summary>RAM below the PCI hole, and from 4 GiB on; bytes.</summary>
    public (ulong Low, ulong High) RamSplit => (_ram.Low, _ram.High);

    public int MaxVcpus { get; }

    public bool DirtyLogging { get; set; }

    /// <summary>Makes the platform's chips.</summary>
    /// <param name="clock">Its source is <see cref="Now"/>.</param>
    /// <param name="startTime">What the RTC shows at time 0: Unix time in nanoseconds.</param>
    public void Build(VmClock clock, long startTime)
    {
        _clock = clock;
        var ioApic = new IoApic(new ApicBus());
        var pic = new I8259Pic(IrqLine.Unconnected);
        Wires = new PcInterruptWires(pic, ioApic);
        var pit = new I8254Pit(Wires.PlatformLine(0), clock);
        Rtc = new Mc146818Rtc(Wires.PlatformLine(8), clock, startTime);
        PmTimer = new PmTimer(Wires.PlatformLine(9), clock);
        _devices.AddRange([ioApic, pic, pit, Rtc, PmTimer]);
        _platformPorts.BeginChange();
        pic.MapPorts(_platformPorts);
        pit.MapPorts(_platformPorts);
        Rtc.MapPorts(_platformPorts);
        PmTimer.MapPorts(_platformPorts);
        _platformPorts.EndChange();
        ioApic.MapMemory(_platformMemory);
    }

    /// <summary>Connects the board.</summary>
    /// <param name="handler">Takes requests at hop 2.</param>
    /// <param name="memory">The board's memory, by which is known where nobody answers.</param>
    public void Attach(IRequestHandler handler, AddressSpace memory)
    {
        _handler = handler;
        _boardMemory = memory;
    }

    /// <summary>Puts the platform where power-on has it. RAM is left.</summary>
    public void Reset(ResetKind kind)
    {
        foreach (var device in _devices) device.Reset(kind);
    }

    /// <summary>The north bridge shows RAM between C0000h and FFFFFh, or the firmware, or nothing. RAM cannot be written while ROM is read.</summary>
    public void SetShadow(ulong start, ulong length, bool readable, bool writable)
    {
        if (readable)
        {
            _ram.Show(start, length, writable);
            return;
        }

        for (var page = start; page < start + length; page += PageBytes)
        {
            if (_rom is not null && page >= _rom.LegacyStart) _ram.Map.Map(page / PageBytes, 1, _rom.LegacyHost(page), false);
            else _ram.Map.Unmap(page / PageBytes, 1);
        }
    }

    /// <param name="size">1, 2 or 4 bytes.</param>
    public uint ReadPort(ushort port, int size)
    {
        if (_platformPorts.IsMapped(port)) return (uint)_platformPorts.Read(port, size);
        var request = new IoRequest { Space = IoSpace.Port, IsRead = true, Size = (uint)size, Count = 1, Address = port };
        _handler.Handle(ref request);
        return (uint)(request.Data & AddressSpace.Mask(size));
    }

    /// <inheritdoc cref="ReadPort"/>
    public void WritePort(ushort port, int size, uint value)
    {
        if (_platformPorts.IsMapped(port))
        {
            _platformPorts.Write(port, size, value);
            return;
        }

        var request = new IoRequest { Space = IoSpace.Port, Size = (uint)size, Count = 1, Address = port, Data = value };
        _handler.Handle(ref request);
    }

    /// <summary>Reads guest physical memory: RAM is copied, chips get accesses of their width. Where nobody answers there are zeros.</summary>
    public void ReadMemory(ulong address, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var page = destination[..(int)Math.Min((ulong)destination.Length, PageBytes - (address & (PageBytes - 1)))];
            if (!_ram.TryRead(address, page)) ReadChips(address, page);
            address += (ulong)page.Length;
            destination = destination[page.Length..];
        }
    }

    /// <summary>Writes guest physical memory. What falls on ROM or on nobody is dropped.</summary>
    public void WriteMemory(ulong address, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            var page = source[..(int)Math.Min((ulong)source.Length, PageBytes - (address & (PageBytes - 1)))];
            if (!_ram.TryWrite(address, page)) WriteChips(address, page);
            address += (ulong)page.Length;
            source = source[page.Length..];
        }
    }

    /// <summary>
    /// Lets time go on to <paramref name="target"/>, moment by moment: at each deadline all timers that are due run, and may arm more. A target in
    /// the past does nothing.
    /// </summary>
    /// <param name="rounds">Moments at most, so that the caller can look at other things.</param>
    /// <returns>False when the target is not reached yet: call again.</returns>
    public bool Advance(long target, int rounds)
    {
        while (_now < target || TimeToNextTimer() == 0)
        {
            if (rounds-- == 0) return false;
            var step = Math.Min(Math.Max(0, target - _now), TimeToNextTimer());
            _roundsWithoutTime = step == 0 ? _roundsWithoutTime + 1 : 0;
            if (_roundsWithoutTime > MaxRoundsWithoutTime)
            {
                if (_now >= target) break;
                step = 1;
            }

            _now += step;
            _clock.RunTimers();
        }

        _roundsWithoutTime = 0;
        return true;
    }

    /// <summary>The moment of the next timer; now when there is none.</summary>
    public long NextMoment()
    {
        var wait = TimeToNextTimer();
        return wait == long.MaxValue ? _now : _now + wait;
    }

    public void SetIsaIrq(int irq, bool level) => Wires.SetIsa(irq, level);

    public void SetPciIntx(int device, int pin, bool level) => Wires.SetIntx(device, pin, level);

    public void SetPciLinkRoute(int link, int irq) => Wires.RouteLink(link, irq);

    /// <summary>A message is a write of a dword. Test programs point it at RAM and look there.</summary>
    public void InjectMsi(ulong address, uint data)
    {
        Span<byte> bytes = stackalloc byte[4];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(bytes, data);
        _ram.TryWrite(address, bytes);
    }

    public void RangeAdded(IoSpace space, ulong start, ulong end)
    {
    }

    public void RangeRemoved(IoSpace space, ulong start, ulong end)
    {
    }

    public void PciFunctionAdded(int bus, int device, int function)
    {
    }

    public void PciFunctionRemoved(int bus, int device, int function)
    {
    }

    public bool SetMemoryKind(ulong firstPage, uint pages, MemoryKind kind) => true;

    public void Shutdown(ShutdownReason reason)
    {
        if (reason == ShutdownReason.Reboot) Reset(ResetKind.Warm);
        Ended?.Invoke(reason);
    }

    public void SetAcpiSleepState(int state)
    {
    }

    public void Dispose()
    {
        _rom?.Dispose();
        _video?.Dispose();
        _ram.Dispose();
    }

    private long TimeToNextTimer() => _clock.NextDeadline == VmTimer.Never ? long.MaxValue : Math.Max(0, _clock.NextDeadline - _clock.Now);

    private void ReadChips(ulong address, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var size = AccessSize(address, destination.Length);
            var value = ReadChip(address, size);
            for (var i = 0; i < size; i++) destination[i] = (byte)(value >> (8 * i));
            address += (ulong)size;
            destination = destination[size..];
        }
    }

    private ulong ReadChip(ulong address, int size)
    {
        if (_platformMemory.IsMapped(address)) return _platformMemory.Read(address, size);
        if (!_boardMemory.IsMapped(address)) return 0;
        var request = new IoRequest { Space = IoSpace.Memory, IsRead = true, Size = (uint)size, Count = 1, Address = address };
        _handler.Handle(ref request);
        return request.Data;
    }

    private void WriteChips(ulong address, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            var size = AccessSize(address, source.Length);
            ulong value = 0;
            for (var i = 0; i < size; i++) value |= (ulong)source[i] << (8 * i);
            WriteChip(address, size, value);
            address += (ulong)size;
            source = source[size..];
        }
    }

    private void WriteChip(ulong address, int size, ulong value)
    {
        if (_platformMemory.IsMapped(address))
        {
            _platformMemory.Write(address, size, value);
            return;
        }

        if (!_boardMemory.IsMapped(address)) return;
        var request = new IoRequest { Space = IoSpace.Memory, Size = (uint)size, Count = 1, Address = address, Data = value };
        _handler.Handle(ref request);
    }

    /// <summary>The largest power of two that address, length and bus allow.</summary>
    private static int AccessSize(ulong address, int length)
    {
        var fits = Math.Min(MaxAccess, 1ul << BitOperations.Log2((uint)length));
        var aligned = address & (0 - address);
        return (int)(aligned == 0 ? fits : Math.Min(fits, aligned));
    }
}

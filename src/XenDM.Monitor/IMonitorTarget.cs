using System.Collections.Generic;

namespace XenDM.Monitor;

/// <summary>A chardev as <c>query-chardev</c> shows it.</summary>
public sealed record ChardevInfo(string Label, string FileName, bool FrontendOpen);

/// <summary>A drive as <c>query-block</c> and <c>query-blockstats</c> show it.</summary>
/// <param name="QdevId">Id of the device; empty for a drive without one.</param>
/// <param name="File">The image, or null without a medium.</param>
public sealed record BlockInfo(
    string Device, string QdevId, bool Removable, bool Locked, bool TrayOpen, string? File, string Format, bool ReadOnly, long Bytes,
    long ReadBytes, long WrittenBytes, long ReadOperations, long WriteOperations, long FlushOperations, long FailedOperations);

/// <summary>A base address register of a function.</summary>
/// <param name="Bar">0 to 5, 6 for the ROM.</param>
public sealed record PciBarInfo(int Bar, bool IsIo, bool Prefetch, ulong Address, ulong Size);

/// <summary>A function as <c>query-pci</c> shows it.</summary>
/// <param name="ClassId">Base class in 15:8, sub class in 7:0.</param>
/// <param name="InterruptPin">1 to 4 for INTA to INTD, 0 for none.</param>
public sealed record PciInfo(
    string QdevId, int Slot, int Function, ushort Vendor, ushort Device, ushort ClassId, int InterruptPin, int InterruptLine, IReadOnlyList<PciBarInfo> Bars);

/// <summary>A vCPU that is there or could be.</summary>
public sealed record CpuInfo(int Index, bool Online);

/// <summary>How often a register block was used since the machine was made; a block transfer is one access.</summary>
/// <param name="Name">The device, and after a space the block.</param>
/// <param name="Address">Where it lies now.</param>
public sealed record RegionCounters(string Name, bool IsPort, ulong Address, ulong Reads, ulong Writes);

/// <summary>What the guest asked of its devices, and what that cost.</summary>
/// <param name="Requests">Accesses that were carried out, a repeated one being one.</param>
/// <param name="Items">Values that they moved.</param>
/// <param name="Unclaimed">Accesses that nobody answered.</param>
/// <param name="MemoryBytes">Resident memory of this process.</param>
/// <param name="CpuMilliseconds">CPU time of all its threads.</param>
public sealed record MachineCounters(ulong Requests, ulong Items, ulong Unclaimed, IReadOnlyList<RegionCounters> Regions, int Pid, long MemoryBytes, long CpuMilliseconds);

/// <summary>An option of the command line with the names of its parameters.</summary>
public sealed record OptionInfo(string Option, IReadOnlyList<string> Parameters);

/// <summary>
/// The machine as a monitor sees it. All calls are made on the machine thread; a call that cannot be carried out throws
/// <see cref="QmpException"/>.
/// </summary>
public interface IMonitorTarget
{
    /// <summary>Name and version of this program.</summary>
    string Package { get; }

    /// <summary>The guest's name; may be empty.</summary>
    string Name { get; }

    /// <summary>The guest's UUID in its usual form.</summary>
    string Uuid => "00000000-0000-0000-0000-000000000000";

    /// <summary>QEMU's word for the run state: prelaunch, running, paused, shutdown, suspended, ...</summary>
    string RunState { get; }

    bool IsRunning { get; }

    IReadOnlyList<ChardevInfo> Chardevs { get; }

    IReadOnlyList<BlockInfo> Blocks { get; }

    IReadOnlyList<PciInfo> PciFunctions { get; }

    IReadOnlyList<CpuInfo> Cpus { get; }

    IReadOnlyList<OptionInfo> CommandLineOptions { get; }

    /// <summary>The counters of this process and its machine.</summary>
    MachineCounters Counters => new(0, 0, 0, [], 0, 0, 0);

    void Continue();

    void Stop();

    /// <summary>Ends the process after the reply is sent.</summary>
    void Quit();

    void Reset();

    void PowerDown();

    void WakeUp();

    /// <param name="id">A device or a drive.</param>
    /// <param name="force">Also when the guest has locked the tray.</param>
    void Eject(string id, bool force);

    /// <param name="fileName">A path; the monitor has already turned <c>/dev/fdset/N</c> into <paramref name="fd"/>.</param>
    /// <param name="fd">An open descriptor that the target owns from now on, also when it throws; or -1.</param>
    /// <param name="format">Null: raw.</param>
    void ChangeMedium(string id, string fileName, int fd, string? format, bool readOnly);

    /// <summary>Writes the state of all devices.</summary>
    /// <param name="fd">An open descriptor that stays the caller's, or -1.</param>
    void SaveDevices(string fileName, int fd);

    /// <summary>Writes a picture of the screen.</summary>
    /// <param name="fd">An open descriptor that stays the caller's, or -1.</param>
    /// <param name="isPng">PNG, else PPM.</param>
    /// <param name="device">Id of a display adapter, or null for what is shown.</param>
    /// <param name="head">Of the adapter; null for the first.</param>
    void DumpScreen(string fileName, int fd, bool isPng, string? device, int? head) => throw new QmpException("There is no console to take a screendump from");

    void SetDirtyLog(bool on);

    /// <param name="socket">The vCPU.</param>
    void PlugCpu(int socket);

    /// <summary>Takes a device out.</summary>
    void Unplug(string id);

    /// <summary>Puts a cable in or pulls it out.</summary>
    /// <param name="name">Id of a net backend, or of the NIC at it.</param>
    void SetLink(string name, bool up) => throw QmpException.NoDevice(name);

    /// <summary>Makes a net backend.</summary>
    /// <param name="options">As on the command line, with the keys <c>type</c> and <c>id</c>; a key may be there several times.</param>
    void AddNetdev(IReadOnlyList<KeyValuePair<string, string>> options) => throw new QmpException("this process has no net backends");

    /// <summary>Takes a net backend away; a NIC at it keeps a cable that ends in the air.</summary>
    void RemoveNetdev(string id) => throw QmpException.NoDevice(id);

    /// <summary>Keyboards and pointers of the guest; null without a guest.</summary>
    MonitorInput? Input => null;

    /// <summary>Null without a VNC server.</summary>
    VncInfo? Vnc => null;

    void SetVncPassword(string password) => throw new QmpException("Could not set password: there is no VNC display");

    /// <param name="seconds">Since 1970, or from now; the largest number is never.</param>
    void ExpireVncPassword(long seconds, bool isFromNow) => throw new QmpException("Could not set password expire time: there is no VNC display");

    /// <summary>Output of a human monitor command; null when there is no such command.</summary>
    string? Human(string command);
}

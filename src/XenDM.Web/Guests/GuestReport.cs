using System.Collections.Generic;
using System.Text.Json.Serialization;

namespace XenDM.Web.Guests;

/// <summary>A row of the list.</summary>
/// <param name="Name">In addresses.</param>
/// <param name="Title">What the guest calls itself.</param>
/// <param name="State">QMP's run state; <c>gone</c> when nobody listens, <c>silent</c> when there is no sensible answer.</param>
/// <param name="Reason">Why it is gone or silent; else empty.</param>
public sealed record GuestSummary(string Name, string Title, string State, string Reason);

/// <summary>A drive with its counters, which began with the guest.</summary>
/// <param name="Id">What eject and change take.</param>
/// <param name="IsQdev">The id is a device's, not a drive's.</param>
/// <param name="File">Null: no medium.</param>
public sealed record DriveReport(
    string Id, bool IsQdev, string? File, bool Removable, bool Locked, bool TrayOpen, long ReadOperations, long WriteOperations, long ReadBytes, long WrittenBytes);

/// <summary>The device model's process.</summary>
/// <param name="MemoryBytes">Resident.</param>
/// <param name="CpuMilliseconds">Of all its threads since it began.</param>
public sealed record ProcessReport(long Pid, long MemoryBytes, long CpuMilliseconds);

/// <summary>Accesses of the guest to a device.</summary>
public sealed record DeviceReport(string Name, long Reads, long Writes);

/// <param name="Unclaimed">Accesses that nobody answered.</param>
public sealed record IoReport(long Requests, long Items, long Unclaimed, IReadOnlyList<DeviceReport> Devices);

/// <summary>All that a guest's page shows beside the screen.</summary>
public sealed record GuestReport(
    string Name, string Title, string State, string Reason, string Version, IReadOnlyList<DriveReport> Drives, ProcessReport? Process, IoReport? Io);

/// <summary>An answer to a command that failed.</summary>
public sealed record Failure(string Error);

/// <summary>What is to be done with a CD drive.</summary>
/// <param name="File">Null: only eject.</param>
public sealed record MediumChange(string Drive, string? File, bool Force);

/// <summary>Serialisers made at build time, so that the program can be trimmed.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(List<GuestSummary>))]
[JsonSerializable(typeof(GuestReport))]
[JsonSerializable(typeof(Failure))]
[JsonSerializable(typeof(MediumChange))]
[JsonSerializable(typeof(List<string>))]
internal sealed partial class ReportJson : JsonSerializerContext;

using System;

namespace XenDM.Monitor;

/// <summary>A command that failed: becomes an error reply.</summary>
public sealed class QmpException : Exception
{
    public const string Generic = "GenericError";
    public const string CommandNotFound = "CommandNotFound";
    public const string DeviceNotFound = "DeviceNotFound";
    public const string DeviceNotActive = "DeviceNotActive";

    public QmpException(string message)
        : base(message) => ErrorClass = Generic;

    public QmpException(string errorClass, string message)
        : base(message) => ErrorClass = errorClass;

    /// <summary>One of the constants here; toolstacks know no others.</summary>
    public string ErrorClass { get; }

    public static QmpException NoDevice(string id) => new(DeviceNotFound, $"Device '{id}' not found");
}
